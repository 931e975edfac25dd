chorale_fuzz(NAME run_record SRCS run_record_fuzz.cc DEPS core proto evaluation)
