chorale_fuzz(NAME site_report SRCS site_report_fuzz.cc DEPS core coordinator)
chorale_fuzz(NAME job_event SRCS job_event_fuzz.cc DEPS core coordinator)
chorale_fuzz(NAME job_spec SRCS job_spec_fuzz.cc DEPS core proto jobs)
