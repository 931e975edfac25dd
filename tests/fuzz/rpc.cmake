chorale_fuzz(NAME chunks SRCS chunks_fuzz.cc DEPS core crypto rpc)
