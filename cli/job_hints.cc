#include "cli/job_hints.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "cli/job_text.h"
#include "cli/output.h"

namespace chorale::cli {
namespace {

constexpr std::string_view kUnknownCode =
    "a code of a newer site: look it up in docs/reason_codes.md of its version";

struct CodeHint {
  std::string_view code;
  std::string_view hint;
};
constexpr std::array kHints = {
    CodeHint{"POLICY_NO_MATCH", "ask the site for one rule that covers the whole job"},
    CodeHint{"RESEARCHER_NOT_ALLOWED", "ask the site to add you to a rule of its policy"},
    CodeHint{"DATASET_NOT_ALLOWED", "ask the site to open the dataset in a rule"},
    CodeHint{"MODEL_NOT_ALLOWED",
             "choose a model that the site allows, or send it what `chorale model show` prints and "
             "ask"},
    CodeHint{"MODEL_TOO_LARGE", "use a smaller model, or ask the site for a higher max_parameters"},
    CodeHint{"METRIC_NOT_ALLOWED", "take the metric out of training.metrics, or ask the site"},
    CodeHint{"SUMS_NOT_ALLOWED",
             "train by gradients and standardise by mean and deviation, or ask the site"},
    CodeHint{"UNMASKED_NOT_ALLOWED", "leave secure_aggregation at its default, or ask the site"},
    CodeHint{"PRIVACY_REQUIRED", "give the job a privacy section: `chorale privacy plan`"},
    CodeHint{"BUDGET_EXCEEDED",
             "more noise, fewer steps or a lower sample rate; the site's log has the noise that "
             "would fit"},
    CodeHint{"BUDGET_REFUSED",
             "submit the job anew, with the unit and relation that the site counts by"},
    CodeHint{"LEDGER_ROLLED_BACK",
             "at the site: put the newest ledger.db back, or `chorale site accept-loss`"},
    CodeHint{"ROUNDS_LIMIT", "ask for fewer rounds, or the site for a higher max_rounds"},
    CodeHint{"LOCAL_EPOCHS_LIMIT", "lower local_epochs or local_steps, or ask the site"},
    CodeHint{"COHORT_MIN", "nothing at this site: the floor protects its patients"},
    CodeHint{"DATASET_UNKNOWN", "compare `dataset` with what `chorale coordinator sites` lists"},
    CodeHint{"SCHEMA_MISMATCH",
             "compare the job's columns with the site's, whose log names the one"},
    CodeHint{"DATA_INVALID", "ask the site to look at its log, which has line and column"},
    CodeHint{"SIGNATURE_INVALID", "renew your certificate with `chorale researcher enrol --renew`"},
    CodeHint{"JOB_INVALID", "see that coordinator and sites run versions that know this job"},
    CodeHint{"TRAINER_UNAVAILABLE", "ask the site to install an agent that is built with LibTorch"},
    CodeHint{"TRAINING_DIVERGED", "lower the learning rate, or set max_gradient_norm"},
    CodeHint{"VALUE_OUT_OF_RANGE",
             "raise the bounds in secure_aggregation.masking, or lower the learning rate"},
    CodeHint{"GROUP_NOT_ALLOWED",
             "more sites, or a higher threshold; the site's policy.secure_aggregation decides"},
    CodeHint{"SECURE_AGGREGATION_REFUSED",
             "ask the site to look at its log: it saw a coordinator or a site break the protocol"},
    CodeHint{
        "SECURE_AGGREGATION_FAILED",
        "ask the site to look into its agent; the coordinator's log (secagg.site_at_fault) says "
        "what did not fit"},
    CodeHint{"MASKED_ROUND_REFUSED", "nothing: the site is asked again in the next round"},
    CodeHint{"SESSION_LOST", "nothing: the agent started again, and keys are exchanged anew"},
    CodeHint{"RESOURCE_LIMIT",
             "a smaller model or batch, or ask the site for memory or room on its disk"},
    CodeHint{"TASK_INVALID", "see that coordinator and sites run the same version"},
    CodeHint{"TASK_EXPIRED", "raise rounds.deadline, or ask for less work a round"},
    CodeHint{
        "TASK_REPEATED",
        "nothing, unless it repeats: then a state was put back, see docs/operations.md, Backup"},
    CodeHint{"BUSY", "wait: the site works on other tasks"},
    CodeHint{"SITE_STOPPING", "nothing: the site is asked again once it is back"},
    CodeHint{"INTERNAL_ERROR", "ask the site to look at its log"},
    CodeHint{"INVALID_UPDATE",
             "ask the site to look at its log: what it reported was infinite or out of bounds"},
};

// What went wrong with whom, and its hint; unset where nothing did.
struct Trouble {
  std::string what;
  std::string_view hint;
};
std::vector<Trouble> TroublesOf(const v1::StoryEntry& entry) {
  std::vector<Trouble> troubles;
  const auto of_sites = [&](const std::string& what, std::string_view hint) {
    for (const std::string& site : entry.sites()) {
      troubles.push_back({Printable(site) + ": " + what, hint});
    }
  };
  switch (entry.kind()) {
    case v1::STORY_KIND_SITE_REFUSED:
      of_sites(Printable(entry.reason_code()), HintOf(entry.reason_code()));
      break;
    case v1::STORY_KIND_SITE_LATE:
      of_sites("late",
               "raise rounds.deadline, ask for less work a round, or ask the site for a "
               "faster machine");
      break;
    case v1::STORY_KIND_SITE_DROPPED:
      of_sites("connection lost",
               "see at the site that the agent runs; its log says why (session.lost)");
      break;
    case v1::STORY_KIND_NO_COHORT:
      troubles.push_back(
          {"too few sites could be asked",
           "`chorale coordinator sites` lists who is connected, with which datasets"});
      break;
    case v1::STORY_KIND_QUORUM_IMPOSSIBLE:
      troubles.push_back({"the quorum cannot be reached",
                          "do what is said of the sites that refused, or lower rounds.min_reports, "
                          "and submit again"});
      break;
    case v1::STORY_KIND_START_FAILED:
      troubles.push_back({"the job could not start", "change what the reason names, submit again"});
      break;
    case v1::STORY_KIND_ROUND_ABANDONED:
      troubles.push_back(
          {"abandoned rounds",
           "rounds.min_reports is how few reports publish, rounds.max_abandoned how often it is "
           "tried again"});
      break;
    case v1::STORY_KIND_SESSION_LOST:
    case v1::STORY_KIND_COORDINATOR_STARTED:
      troubles.push_back({"the coordinator started again while the job was under way",
                          "nothing: the job went on; its operator finds the reason in the log"});
      break;
    default:
      break;
  }
  return troubles;
}

}  // namespace

std::string_view HintOf(std::string_view reason_code) {
  const auto* const found = std::ranges::find(kHints, reason_code, &CodeHint::code);
  return found == kHints.end() ? kUnknownCode : found->hint;
}

std::vector<Hint> HintsOf(const v1::ExplainJobResponse& story) {
  struct Seen {
    std::string_view hint;
    int times = 0;
    std::string last = {};
  };
  std::vector<std::string> order;
  std::map<std::string, Seen> all;
  for (const v1::StoryEntry& entry : story.entries()) {
    for (const Trouble& trouble : TroublesOf(entry)) {
      const auto [seen, is_new] = all.try_emplace(trouble.what, Seen{.hint = trouble.hint});
      if (is_new) order.push_back(trouble.what);
      ++seen->second.times;
      if (entry.attempt() > 0) seen->second.last = RoundLabel(entry.phase(), entry.round());
    }
  }
  std::vector<Hint> hints;
  for (const std::string& what : order) {
    const Seen& seen = all.at(what);
    std::string text = what;
    if (seen.times > 1) text += ", " + std::to_string(seen.times) + " times";
    if (!seen.last.empty())
      text += (seen.times > 1 ? ", last in round " : ", in round ") + seen.last;
    hints.push_back({.what = text, .to_do = std::string(seen.hint)});
  }
  return hints;
}

}  // namespace chorale::cli
