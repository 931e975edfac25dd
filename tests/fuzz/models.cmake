chorale_fuzz(NAME safetensors SRCS safetensors_fuzz.cc DEPS core models)
chorale_fuzz(NAME model_graph SRCS model_graph_fuzz.cc DEPS core models)
