#include "cli/model_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/bytes.h"
#include "core/crypto/signature.h"
#include "core/storage/file.h"
#include "identity/party.h"
#include "models/model.h"
#include "models/safetensors.h"

namespace chorale::cli {
namespace {

constexpr std::size_t kMaxManifestBytes = 1 << 20;
constexpr char kManifestDomain[] = "chorale/v1/manifest";

Status SystemError(const std::filesystem::path& path, int error) {
  const std::string message = "cannot write " + path.string() + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT)
    return ResourceExhausted(message + "; free some space and pull again");
  if (error == EACCES || error == EPERM || error == EROFS) return PermissionDenied(message);
  return Unavailable(message);
}

// Bytes into a file that vanishes unless it is kept.
class PartialFile {
 public:
  explicit PartialFile(std::filesystem::path target)
      : target_(std::move(target)), partial_(target_.string() + ".partial") {}
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;
  ~PartialFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(partial_.c_str());
  }

  Status Open() {
    fd_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    return fd_ < 0 ? SystemError(partial_, errno) : OkStatus();
  }
  Status Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return SystemError(partial_, errno);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return OkStatus();
  }
  Status Keep() {
    if (::fsync(fd_) != 0 || ::rename(partial_.c_str(), target_.c_str()) != 0)
      return SystemError(target_, errno);
    ::close(fd_);
    fd_ = -1;
    return OkStatus();
  }

 private:
  std::filesystem::path target_;
  std::filesystem::path partial_;
  int fd_ = -1;
};

// The coordinator's words are its own: its certificate is of this federation and the signature
// covers these bytes.
Status VerifyManifest(const v1::PullModelHeader& header, const crypto::Certificate& root,
                      Time now) {
  if (header.manifest().empty() || header.manifest().size() > kMaxManifestBytes) {
    return DataLoss("the manifest must have 1 to 1048576 bytes, got " +
                    std::to_string(header.manifest().size()));
  }
  CHORALE_ASSIGN_OR_RETURN(const crypto::Certificate certificate,
                           crypto::Certificate::FromPem(header.certificate()));
  CHORALE_RETURN_IF_ERROR(Annotate(certificate.VerifyIssuedBy(root, now),
                                   "the coordinator's certificate in the manifest"));
  CHORALE_ASSIGN_OR_RETURN(const identity::Party party, identity::PartyOf(certificate));
  if (party.role != v1::PARTY_ROLE_COORDINATOR) {
    return PermissionDenied("the manifest is signed by a " + identity::RoleName(party.role) +
                            ", not by a coordinator");
  }
  return Annotate(crypto::VerifySignature(party.signing_key, kManifestDomain,
                                          AsBytes(header.manifest()), AsBytes(header.signature())),
                  "the manifest's signature");
}

// A string below the manifest's `keys`, or nothing.
std::optional<std::string> FindString(const nlohmann::json& manifest,
                                      std::initializer_list<const char*> keys) {
  const nlohmann::json* node = &manifest;
  for (const char* key : keys) {
    if (!node->is_object() || !node->contains(key)) return std::nullopt;
    node = &node->at(key);
  }
  return node->is_string() ? std::optional(node->get<std::string>()) : std::nullopt;
}

// What is signed is the manifest: it must name this job and these weights.
Status MatchManifest(const v1::PullModelHeader& header, const std::string& job_id,
                     const crypto::BlobId& weights) {
  const auto manifest =
      nlohmann::json::parse(header.manifest(), nullptr, /*allow_exceptions=*/false);
  if (manifest.is_discarded()) return DataLoss("the manifest is no JSON document");
  if (FindString(manifest, {"job"}) != job_id) {
    return DataLoss("the manifest is of another job than " + job_id);
  }
  if (FindString(manifest, {"weights", "digest"}) != ToHex(weights.digest)) {
    return DataLoss("the weights that the coordinator offers are not those of the signed manifest");
  }
  return OkStatus();
}

// Kind of the weights' numbers, as the signed manifest tells; one that does not is of a version
// that knew float32 alone.
models::NumberType NumbersOf(const v1::PullModelHeader& header) {
  const auto manifest =
      nlohmann::json::parse(header.manifest(), nullptr, /*allow_exceptions=*/false);
  return FindString(manifest, {"weights", "numbers"}) == "float64" ? models::NumberType::kFloat64
                                                                   : models::NumberType::kFloat32;
}

std::string RenderSignature(const v1::PullModelHeader& header) {
  const nlohmann::ordered_json json = {{"algorithm", "Ed25519"},
                                       {"domain", kManifestDomain},
                                       {"signature", ToHex(AsBytes(header.signature()))},
                                       {"certificate", header.certificate()}};
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

struct ModelWriter::State {
  State(std::filesystem::path target_directory, const crypto::BlobId& weights)
      : directory(std::move(target_directory)),
        receiver(weights),
        file(directory / "model.safetensors") {}

  std::filesystem::path directory;
  std::string manifest;
  std::string signature;
  ParameterLayout layout;
  std::uint64_t size_bytes = 0;
  rpc::ChunkReceiver receiver;
  PartialFile file;
};

ModelWriter::ModelWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
ModelWriter::ModelWriter(ModelWriter&&) noexcept = default;
ModelWriter& ModelWriter::operator=(ModelWriter&&) noexcept = default;
ModelWriter::~ModelWriter() = default;

StatusOr<ModelWriter> ModelWriter::Create(const std::filesystem::path& directory,
                                          const std::string& job_id,
                                          const v1::PullModelHeader& header,
                                          const crypto::Certificate& root, Time now) {
  CHORALE_RETURN_IF_ERROR(VerifyManifest(header, root, now));
  CHORALE_ASSIGN_OR_RETURN(const crypto::BlobId weights, rpc::FromProto(header.weights()));
  CHORALE_RETURN_IF_ERROR(MatchManifest(header, job_id, weights));
  CHORALE_ASSIGN_OR_RETURN(ParameterLayout layout, models::FromProto(header.layout()));
  const models::NumberType numbers = NumbersOf(header);
  const std::uint64_t size_bytes =
      layout.num_parameters() *
      (numbers == models::NumberType::kFloat64 ? sizeof(double) : sizeof(float));
  if (size_bytes != weights.size_bytes) {
    return DataLoss("the layout has " + std::to_string(size_bytes) + " bytes, the weights " +
                    std::to_string(weights.size_bytes));
  }

  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return SystemError(directory, error.value());
  auto state = std::make_unique<State>(directory, weights);
  state->manifest = header.manifest();
  state->signature = RenderSignature(header);
  state->layout = std::move(layout);
  state->size_bytes = size_bytes;
  CHORALE_RETURN_IF_ERROR(state->file.Open());
  const std::map<std::string, std::string> metadata = {{"format", "pt"},
                                                       {"chorale.job_id", job_id}};
  CHORALE_RETURN_IF_ERROR(
      state->file.Write(models::SafetensorsHeader(state->layout, metadata, numbers)));
  return ModelWriter(std::move(state));
}

Status ModelWriter::Append(const v1::Chunk& chunk) {
  CHORALE_RETURN_IF_ERROR(state_->receiver.Accept(chunk));
  return state_->file.Write(chunk.data());
}

Status ModelWriter::Finish() && {
  CHORALE_RETURN_IF_ERROR(state_->receiver.Finish());
  CHORALE_RETURN_IF_ERROR(storage::WriteFileAtomically(
      state_->directory / "manifest.json", AsBytes(state_->manifest), storage::FileMode::kPublic));
  CHORALE_RETURN_IF_ERROR(storage::WriteFileAtomically(state_->directory / "manifest.json.sig",
                                                       AsBytes(state_->signature),
                                                       storage::FileMode::kPublic));
  return state_->file.Keep();
}

std::uint64_t ModelWriter::num_parameters() const { return state_->layout.num_parameters(); }
std::uint64_t ModelWriter::size_bytes() const { return state_->size_bytes; }

}  // namespace chorale::cli
