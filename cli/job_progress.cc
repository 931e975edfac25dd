#include "cli/job_progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <ostream>

#include "cli/interrupt.h"
#include "cli/job_text.h"
#include "cli/progress_view.h"

namespace chorale::cli {
namespace {

constexpr std::size_t kDefaultColumns = 80;

std::size_t TerminalColumns() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return kDefaultColumns;
  return size.ws_col - 1u;
}

// Draws a block over the one before it.
class BlockPainter {
 public:
  explicit BlockPainter(std::ostream& out) : out_(out) {}
  void Paint(const std::vector<std::string>& lines) {
    std::string text;
    if (height_ > 0)
      text += "\x1b[" + std::to_string(height_) + "A";  // Up to the block's first row.
    text += "\r\x1b[J";                                 // Clear from here on.
    for (const std::string& line : lines) text += line + '\n';
    out_ << text << std::flush;
    height_ = lines.size();
  }

 private:
  std::ostream& out_;
  std::size_t height_ = 0;
};

Status EndOf(const v1::JobSummary& job) {
  const std::string reason = job.reason().empty() ? "no reason was given" : job.reason();
  switch (job.state()) {
    case v1::JOB_STATE_COMPLETED:
      return OkStatus();
    case v1::JOB_STATE_FAILED:
      return Aborted("job " + job.job_id() + " failed: " + reason + "; see `chorale job show " +
                     job.job_id() + "`");
    case v1::JOB_STATE_CANCELLED:
      return Cancelled("job " + job.job_id() + " was cancelled: " + reason);
    default:
      return Unavailable("the coordinator stopped telling about job " + job.job_id() +
                         " before its end; watch it again");
  }
}

}  // namespace

Status FollowJob(JobsClient& jobs, const std::string& job_id, OutputFormat format,
                 const Terminal& terminal) {
  const InterruptNotice notice("\nchorale: stopped watching; the job goes on: chorale job watch " +
                               Printable(job_id) + "\n");
  v1::WatchJobRequest request;
  request.set_job_id(job_id);
  v1::JobSummary last;
  ProgressLines plain;
  ProgressBlock block;
  BlockPainter painter(terminal.out);
  Status printed;

  const auto on_message = [&](const v1::WatchJobResponse& message) {
    last = message.job();
    if (format == OutputFormat::kJson) {
      const auto json = ToJson(message, JsonStyle::kLine);
      if (json.ok()) terminal.out << *json << std::endl;
      if (printed.ok()) printed = json.status();
    } else if (terminal.out_is_terminal) {
      painter.Paint(block.Render(message, terminal.clock.WallNow(), TerminalColumns()));
    } else {
      for (const std::string& line : plain.Update(message)) terminal.out << line << '\n';
      terminal.out.flush();
    }
  };
  const auto on_reconnect = [&terminal] {
    terminal.err << "chorale: the connection to the coordinator was lost; dialling again\n";
  };
  CHORALE_RETURN_IF_ERROR(jobs.WatchJob(request, on_message, on_reconnect));
  CHORALE_RETURN_IF_ERROR(printed);
  return EndOf(last);
}

}  // namespace chorale::cli
