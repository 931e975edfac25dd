chorale_fuzz(NAME ledger_entry SRCS ledger_entry_fuzz.cc DEPS privacy_ledger)
