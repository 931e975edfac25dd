chorale_fuzz(NAME csv_reader SRCS csv_reader_fuzz.cc DEPS core data)
chorale_fuzz(NAME npy_header SRCS npy_header_fuzz.cc DEPS core data)
chorale_fuzz(NAME preparation SRCS preparation_fuzz.cc DEPS core data proto)
