# chorale-privacy-audit: a program of its own, since it links LibTorch.
chorale_program(NAME chorale-privacy-audit COLD SRCS privacy_audit_main.cc exit_code.cc torch_program.cc torch_program.h
  DEPS core storage proto privacy privacy_audit training training_torch jobs audit
  LIBS CLI11::CLI11 nlohmann_json::nlohmann_json)
