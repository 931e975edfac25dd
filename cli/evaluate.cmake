# chorale-evaluate: a program of its own, since it links LibTorch.
chorale_program(NAME chorale-evaluate COLD SRCS evaluate_main.cc exit_code.cc torch_program.cc torch_program.h
  DEPS core crypto proto models data training training_torch jobs evaluation LIBS CLI11::CLI11)
