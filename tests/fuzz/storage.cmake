chorale_fuzz(NAME archive SRCS archive_fuzz.cc DEPS core crypto storage)
