chorale_fuzz(NAME csv_reader SRCS csv_reader_fuzz.cc DEPS core data)
