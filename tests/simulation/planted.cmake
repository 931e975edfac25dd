# Programs with a bug planted in them, to see that the simulation finds it. The product's sources hold no such bug: a copy
# is made at configure time in which one passage reads otherwise, and the copy takes the place of the library's object.
#
# chorale_planted_bug(NAME name WITHIN seeds [ONLY kind] SAYS text
#   FILE path… BUG variable… INSTEAD variable…)
#     In each file the text of one variable stands instead of that of another.
#     A ctest `simulation.finds_<name>`: within so many seeds something is violated, and the violation says the text.
function(chorale_planted_bug)
  cmake_parse_arguments(PARSE_ARGV 0 ARG "" "NAME;WITHIN;ONLY;SAYS" "FILE;BUG;INSTEAD")
  set(target simulation_planted_${ARG_NAME})
  set(copies "")
  list(LENGTH ARG_FILE num_files)
  math(EXPR last "${num_files} - 1")
  foreach(i RANGE ${last})
    list(GET ARG_FILE ${i} file)
    file(READ ${PROJECT_SOURCE_DIR}/${file} source)
    # Passages are given as names of variables, since a list would break at their semicolons.
    list(GET ARG_BUG ${i} wrong_name)
    list(GET ARG_INSTEAD ${i} right_name)
    string(FIND "${source}" "${${right_name}}" place)
    if(place EQUAL -1)
      message(FATAL_ERROR "${file} has no passage any more that tests/simulation plants the bug ${ARG_NAME} in:\n${${right_name}}")
    endif()
    string(REPLACE "${${right_name}}" "${${wrong_name}}" source "${source}")
    set(copy ${CMAKE_CURRENT_BINARY_DIR}/planted/${ARG_NAME}/${file})
    file(CONFIGURE OUTPUT ${copy} CONTENT "${source}" @ONLY)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${file})
    list(APPEND copies ${copy})
  endforeach()
  add_executable(${target} $<TARGET_OBJECTS:simulation_main> ${copies})
  target_link_libraries(${target} PRIVATE chorale_simulation CLI11::CLI11)
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/planted)
  set(only "")
  if(ARG_ONLY)
    set(only --only ${ARG_ONLY})
  endif()
  add_test(NAME simulation.finds_${ARG_NAME}
    COMMAND ${target} --seeds 1..${ARG_WITHIN} ${only} --expect-violation ${ARG_SAYS})
endfunction()

# A report is answered before the transaction that makes it durable.
set(right [[
  answers_.emplace_back([done = std::move(done), stepped, held](const Status& committed) {
    done(committed.ok() ? stepped : committed);
  });]])
set(wrong [[
  done(stepped);
  answers_.emplace_back([held](const Status&) {});]])
chorale_planted_bug(NAME answer_before_commit WITHIN 300 SAYS "is told that its report is kept, and it is not durable"
  FILE coordinator/engine_sites.cc BUG wrong INSTEAD right)

# A repeated report counts once more.
set(right [[
  if (const auto* held = std::get_if<Report>(&site->second)) {
    return SecondReport(event.site, *held, event.report);
  }
  if (std::holds_alternative<Refusal>(site->second)) {]])
set(wrong [[
  if (auto* held = std::get_if<Report>(&site->second)) {
    held->num_examples += event.report.num_examples;
    return CloseIfDone(std::move(state), now);
  }
  if (std::holds_alternative<Refusal>(site->second)) {]])
set(right_kept [[
  if (stepped.ok()) {
    batch_.kept.push_back(]])
set(wrong_kept [[
  if (stepped.ok() && !task.report.has_value()) {
    batch_.kept.push_back(]])
chorale_planted_bug(NAME counted_twice WITHIN 300 SAYS "a report counts twice"
  FILE coordinator/round.cc coordinator/engine_sites.cc BUG wrong wrong_kept INSTEAD right right_kept)

# A round is published with one report too few.
set(right "if (NumReports(state.sites) >= rules_.min_reports) {")
set(wrong "if (NumReports(state.sites) + 1 >= rules_.min_reports) {")
chorale_planted_bug(NAME below_quorum WITHIN 300 SAYS "published below the quorum"
  FILE coordinator/round.cc BUG wrong INSTEAD right)

# The ledger is charged when the report is ready to leave.
set(right [[
    CHORALE_RETURN_IF_ERROR(ledger_.Start({.reservation = reservation,
                                           .step_key = key,
                                           .content = round.content,
                                           .steps = StepsOf(spec, run)}));
    commit = [this, key] { return ledger_.Commit(key); };]])
set(wrong [[
    commit = [this, key, reservation, content = round.content, steps = StepsOf(spec, run)]() -> Status {
      CHORALE_RETURN_IF_ERROR(ledger_.Start({.reservation = reservation, .step_key = key, .content = content, .steps = steps}));
      return ledger_.Commit(key);
    };]])
chorale_planted_bug(NAME charged_late WITHIN 10 ONLY private SAYS "is not charged before its rows are used"
  FILE site_agent/privacy_accounts.cc BUG wrong INSTEAD right)

# A site forgets which sums it has helped to reveal.
set(right "Status Promises::RecordSum(const crypto::Digest& job, const secagg::RevealedSum& sum) {")
set(wrong "Status Promises::RecordSum(const crypto::Digest& job, const secagg::RevealedSum& sum) {\n  if (!sum.sites.empty()) return OkStatus();")
chorale_planted_bug(NAME forgotten_promise WITHIN 20 ONLY masked SAYS "helps to reveal a sum that it would forget"
  FILE site_agent/promises.cc BUG wrong INSTEAD right)

# A coordinator that starts again goes on without the last event.
set(right [[
    const JobId id = job.submission.id;
    CHORALE_ASSIGN_OR_RETURN(JobEntry entry,]])
set(wrong [[
    const JobId id = job.submission.id;
    if (job.events.size() > 1) job.events.pop_back();
    CHORALE_ASSIGN_OR_RETURN(JobEntry entry,]])
chorale_planted_bug(NAME last_event_lost WITHIN 300 SAYS "the coordinator cannot read what it stored"
  FILE coordinator/engine.cc BUG wrong INSTEAD right)

# Nothing is synced: a power cut takes what was told to be durable.
set(right "PRAGMA synchronous = FULL;")
set(wrong "PRAGMA synchronous = OFF;")
chorale_planted_bug(NAME not_synced WITHIN 20 SAYS "cannot read what it stored"
  FILE core/storage/sqlite.cc BUG wrong INSTEAD right)

# A report that is sent again is made again.
set(right [[
  CHORALE_ASSIGN_OR_RETURN(OutgoingReport report, journal_.LoadReport(task_id));]])
set(wrong [[
  CHORALE_ASSIGN_OR_RETURN(OutgoingReport report, journal_.LoadReport(task_id));
  static std::int32_t nanos = 0;
  report.header.mutable_training_time()->set_nanos(++nanos);]])
chorale_planted_bug(NAME frame_made_again WITHIN 300 SAYS "sends other bytes than before"
  FILE site_agent/release_guard.cc BUG wrong INSTEAD right)
