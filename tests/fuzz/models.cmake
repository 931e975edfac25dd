chorale_fuzz(NAME safetensors SRCS safetensors_fuzz.cc DEPS core models)
