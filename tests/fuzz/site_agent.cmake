chorale_fuzz(NAME site_session SRCS site_session_fuzz.cc DEPS site_agent)
chorale_fuzz(NAME site_task SRCS site_task_fuzz.cc DEPS site_agent)
