chorale_fuzz(NAME secagg_messages SRCS secagg_messages_fuzz.cc DEPS secagg)
# Signed by whom they should be, so that what is behind the signatures is reached.
chorale_fuzz(NAME secagg_sessions SRCS secagg_sessions_fuzz.cc ${PROJECT_SOURCE_DIR}/tests/secagg/federation.cc
             DEPS secagg LIBS GTest::gtest)
