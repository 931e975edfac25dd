#pragma once

#include <string>

#include "cli/command_line.h"
#include "cli/jobs_client.h"
#include "cli/output.h"
#include "core/status.h"

namespace chorale::cli {

// Shows a job until it ends: a block that is drawn again on a terminal, plain lines in a pipe, one
// JSON document a line with OutputFormat::kJson. ABORTED when the job failed, CANCELLED when it was
// cancelled, each with the reason. Ctrl-C ends the program with 130 and leaves the job alone.
[[nodiscard]] Status FollowJob(JobsClient& jobs, const std::string& job_id, OutputFormat format,
                               const Terminal& terminal);

}  // namespace chorale::cli
