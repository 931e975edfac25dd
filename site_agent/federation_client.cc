#include "site_agent/federation_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "chorale/v1/federation.grpc.pb.h"
#include "core/chunking.h"
#include "core/log.h"
#include "core/rpc/channel.h"
#include "core/rpc/chunks.h"
#include "core/rpc/status_conversion.h"

namespace chorale::site_agent {
namespace {

using Stream = grpc::ClientReaderWriter<v1::SiteMessage, v1::CoordinatorMessage>;

constexpr Duration kGoodbye = std::chrono::seconds(2);
// A transfer's deadline: a hung coordinator must not hold a thread for ever, a slow line is given
// time.
constexpr Duration kTransferBase = std::chrono::seconds(60);
constexpr std::uint64_t kSlowestBytesPerSecond = 64 << 10;

std::chrono::system_clock::time_point TransferDeadline(std::uint64_t size_bytes) {
  return std::chrono::system_clock::now() + kTransferBase +
         std::chrono::seconds(size_bytes / kSlowestBytesPerSecond);
}

Status NotConnected() { return Unavailable("there is no connection to the coordinator"); }

// A connection and what calls it. Shared: a call that began on it may outlast the session.
struct Connection {
  explicit Connection(std::shared_ptr<grpc::Channel> made)
      : channel(std::move(made)), stub(v1::Federation::NewStub(channel)) {}
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Federation::Stub> stub;
};

}  // namespace

class FederationClient::State {
 public:
  State(ClientOptions options, const identity::Identity& identity, const Clock& clock)
      : options_(std::move(options)), identity_(identity), clock_(clock) {}

  ~State() {
    HangUp();
    if (reader_.joinable()) reader_.join();
    if (goodbye_.joinable()) goodbye_.join();
  }

  void Dial(LinkObserver& observer) {
    if (reader_.joinable()) reader_.join();
    if (goodbye_.joinable()) goodbye_.join();
    {
      const std::lock_guard lock(mutex_);
      context_ = std::make_unique<grpc::ClientContext>();
      is_closed_ = false;
    }
    reader_ = std::thread([this, &observer] {
      const Status reason = RunSession(observer);
      {
        const std::lock_guard lock(mutex_);
        connection_.reset();
        is_closed_ = true;
      }
      closed_.notify_all();
      observer.OnClosed(reason);
    });
  }

  void HangUp() {
    {
      const std::lock_guard lock(mutex_);
      if (report_context_ != nullptr) report_context_->TryCancel();
      if (is_closed_ || goodbye_.joinable()) return;
      goodbye_ = std::thread([this] { SayGoodbye(); });
    }
  }

  Status Send(const v1::SiteMessage& message) {
    const std::lock_guard lock(write_mutex_);
    if (stream_ == nullptr) return NotConnected();
    if (!stream_->Write(message)) return Unavailable("the session has ended");
    return OkStatus();
  }

  Status Fetch(const v1::FetchBlobRequest& request, std::uint64_t size_bytes,
               const std::function<Status(const v1::Chunk&)>& accept, Cancellation& cancellation) {
    const std::shared_ptr<Connection> connection = CurrentConnection();
    if (connection == nullptr) return NotConnected();
    grpc::ClientContext context;
    context.set_deadline(TransferDeadline(size_bytes));
    const Cancellation::Interrupt interrupt(cancellation, [&context] { context.TryCancel(); });
    const auto reader = connection->stub->FetchBlob(&context, request);
    v1::FetchBlobResponse response;
    Status refused;
    while (refused.ok() && reader->Read(&response)) refused = accept(response.chunk());
    if (!refused.ok()) context.TryCancel();
    const Status status = rpc::FromGrpc(reader->Finish());
    return refused.ok() ? status : refused;
  }

  Status Report(const OutgoingReport& report) {
    const std::shared_ptr<Connection> connection = CurrentConnection();
    if (connection == nullptr) return NotConnected();
    const Status status = ResumeReport(*connection, report);
    return rpc::ExplainConnectionFailure(status, options_.coordinator);
  }

 private:
  // Where the payload goes on: what the coordinator has of it already. Small ones are sent whole.
  StatusOr<std::uint64_t> FindOffset(Connection& connection, const OutgoingReport& report) {
    const std::uint64_t size_bytes = report.header.payload().size_bytes();
    if (size_bytes <= kChunkBytes) return 0;
    grpc::ClientContext context;
    context.set_deadline(TransferDeadline(0));
    const ReportCall call(*this, context);
    v1::FindReportRequest request;
    request.set_task_id(report.header.task_id());
    *request.mutable_payload() = report.header.payload();
    v1::FindReportResponse response;
    const Status status = rpc::FromGrpc(connection.stub->FindReport(&context, request, &response));
    // An older coordinator takes reports from their beginning.
    if (status.code() == StatusCode::kUnimplemented) return 0;
    CHORALE_RETURN_IF_ERROR(status);
    const std::uint64_t received = response.received_bytes();
    return received < size_bytes && received % kChunkBytes == 0 ? received : 0;
  }

  Status ResumeReport(Connection& connection, const OutgoingReport& report) {
    CHORALE_ASSIGN_OR_RETURN(const std::uint64_t offset, FindOffset(connection, report));
    if (offset > 0) {
      log::Info("report.resumed", {{"task", report.header.task_id()},
                                   {"sent_bytes", offset},
                                   {"size_bytes", report.header.payload().size_bytes()}});
    }
    return WriteReport(connection, report, offset);
  }

  Status WriteReport(Connection& connection, const OutgoingReport& report, std::uint64_t offset) {
    grpc::ClientContext context;
    context.set_deadline(TransferDeadline(report.header.payload().size_bytes()));
    // Metadata, header and first chunk leave together.
    context.set_initial_metadata_corked(true);
    const ReportCall call(*this, context);
    v1::ReportResultResponse response;
    const auto writer = connection.stub->ReportResult(&context, &response);
    v1::ReportResultRequest request;
    *request.mutable_header() = report.header;
    const std::uint64_t size_bytes = report.header.payload().size_bytes();
    const auto write = [&](v1::Chunk&& chunk) {
      const bool is_last = chunk.offset_bytes() + chunk.data().size() == size_bytes;
      *request.mutable_chunk() = std::move(chunk);
      grpc::WriteOptions write_options;
      if (is_last) write_options.set_last_message();
      return writer->Write(request, write_options);
    };
    Status sent = writer->Write(request, grpc::WriteOptions().set_buffer_hint())
                      ? OkStatus()
                      : Unavailable("the coordinator stopped receiving");
    if (sent.ok()) {
      const auto* bytes = std::get_if<Bytes>(&report.payload);
      sent = bytes != nullptr
                 ? rpc::SendBytes(*bytes, write)
                 : rpc::SendBlob(std::get<storage::BlobReader>(report.payload), offset, write);
    }
    // A peer that stops receiving has said why in its status; a payload that cannot be read must
    // not look complete.
    if (!sent.ok() && sent.code() != StatusCode::kUnavailable) context.TryCancel();
    const Status answer = rpc::FromGrpc(writer->Finish());
    if (!sent.ok() && sent.code() != StatusCode::kUnavailable) return sent;
    return answer;
  }

  // Blocks until the session ends; says why.
  Status RunSession(LinkObserver& observer) {
    if (Status status = identity_.certificate().VerifyIssuedBy(identity_.root(), clock_.WallNow());
        !status.ok()) {
      return Annotate(status, "this site's own certificate");
    }
    StatusOr<std::shared_ptr<grpc::Channel>> channel =
        rpc::MakeChannel({.address = options_.coordinator,
                          .proxy = options_.proxy,
                          .keepalive_interval = options_.keepalive_interval},
                         {.certificate_pem = identity_.certificate().pem(),
                          .key_pem = identity_.tls_key_pem(),
                          .root_pem = identity_.root().pem()});
    if (!channel.ok()) return channel.status();
    // Shared: see Connection.
    const auto connection = std::make_shared<Connection>(*std::move(channel));
    const std::unique_ptr<Stream> stream = connection->stub->Connect(context_.get());
    // Connect returns once the stream is on its way or has failed; a failed one is found by Read.
    if (connection->channel->GetState(false) == GRPC_CHANNEL_READY) {
      {
        const std::scoped_lock lock(write_mutex_, mutex_);
        stream_ = stream.get();
        connection_ = connection;
      }
      observer.OnOpened();
    }
    v1::CoordinatorMessage message;
    while (stream->Read(&message)) observer.OnMessage(std::move(message));
    {
      const std::lock_guard lock(write_mutex_);
      stream_ = nullptr;
    }
    const Status status = rpc::FromGrpc(stream->Finish());
    if (status.ok()) return Unavailable("the coordinator ended the session");
    return rpc::ExplainConnectionFailure(status, options_.coordinator);
  }

  void SayGoodbye() {
    {
      const std::lock_guard lock(write_mutex_);
      // Without a stream yet there is nobody to say it to.
      if (stream_ != nullptr) {
        stream_->WritesDone();
      } else {
        context_->TryCancel();
      }
    }
    std::unique_lock lock(mutex_);
    if (!closed_.wait_for(lock, kGoodbye, [this] { return is_closed_; })) context_->TryCancel();
  }

  std::shared_ptr<Connection> CurrentConnection() {
    const std::lock_guard lock(mutex_);
    return connection_;
  }

  // A call of the reporter's thread, for HangUp to cancel.
  class ReportCall {
   public:
    ReportCall(State& state, grpc::ClientContext& context) : state_(state) { Set(&context); }
    ~ReportCall() { Set(nullptr); }
    ReportCall(const ReportCall&) = delete;
    ReportCall& operator=(const ReportCall&) = delete;

   private:
    void Set(grpc::ClientContext* context) {
      const std::lock_guard lock(state_.mutex_);
      state_.report_context_ = context;
    }
    State& state_;
  };

  const ClientOptions options_;
  const identity::Identity& identity_;
  const Clock& clock_;

  // The dialling thread's own.
  std::thread reader_;
  std::thread goodbye_;

  std::mutex write_mutex_;    // Guards stream_ and its writes. Taken before mutex_.
  Stream* stream_ = nullptr;  // While the stream stands.

  std::mutex mutex_;  // Guards everything below.
  std::condition_variable closed_;
  bool is_closed_ = true;
  std::unique_ptr<grpc::ClientContext> context_;  // Replaced by Dial alone, when nobody uses it.
  std::shared_ptr<Connection> connection_;
  grpc::ClientContext* report_context_ = nullptr;
};

FederationClient::FederationClient(ClientOptions options, const identity::Identity& identity,
                                   const Clock& clock)
    : state_(std::make_unique<State>(std::move(options), identity, clock)) {}

FederationClient::~FederationClient() = default;

void FederationClient::Dial(LinkObserver& observer) { state_->Dial(observer); }

void FederationClient::HangUp() { state_->HangUp(); }

Status FederationClient::Fetch(const TaskId& task, const crypto::BlobId& blob,
                               std::uint64_t offset_bytes,
                               const std::function<Status(const v1::Chunk&)>& accept,
                               Cancellation& cancellation) {
  v1::FetchBlobRequest request;
  request.set_task_id(task.value());
  request.set_digest(blob.digest.data(), blob.digest.size());
  request.set_offset_bytes(offset_bytes);
  return state_->Fetch(request, blob.size_bytes - offset_bytes, accept, cancellation);
}

Status FederationClient::Send(Released<v1::SiteMessage> message) {
  return state_->Send(message.value());
}

Status FederationClient::Report(Released<OutgoingReport> report) {
  return state_->Report(report.value());
}

}  // namespace chorale::site_agent
