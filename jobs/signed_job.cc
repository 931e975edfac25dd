#include "jobs/signed_job.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "jobs/job_spec.h"
#include "jobs/privacy_spec.h"

namespace chorale::jobs {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr std::string_view kDomain = "chorale/v1/job";
constexpr std::size_t kMaxSpecBytes = 1u << 20;
constexpr std::size_t kMaxCertificateBytes = 16u << 10;

std::string SerializeDeterministically(const v1::JobSpec& spec) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  spec.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

Status CheckEnum(const Message& message, const FieldDescriptor& field, const std::string& path) {
  const Reflection& reflection = *message.GetReflection();
  const int count = field.is_repeated() ? reflection.FieldSize(message, &field) : 1;
  for (int i = 0; i < count; ++i) {
    const int value = field.is_repeated() ? reflection.GetRepeatedEnumValue(message, &field, i)
                                          : reflection.GetEnumValue(message, &field);
    if (field.enum_type()->FindValueByNumber(value) == nullptr) {
      return InvalidArgument(path + " has the value " + std::to_string(value) +
                             ", which this version does not know: update this program");
    }
  }
  return OkStatus();
}

// A field or value that this version would ignore could change what the job means.
Status CheckNothingUnknown(const Message& message, const std::string& path) {
  const Reflection& reflection = *message.GetReflection();
  if (const auto& unknown = reflection.GetUnknownFields(message); !unknown.empty()) {
    return InvalidArgument("the job's " + (path.empty() ? "specification" : path) +
                           " has field number " + std::to_string(unknown.field(0).number()) +
                           ", which this version does not know: update this program");
  }
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string inner =
        path.empty() ? std::string(field->name()) : path + "." + std::string(field->name());
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      CHORALE_RETURN_IF_ERROR(CheckEnum(message, *field, inner));
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
      for (int i = 0; i < count; ++i) {
        CHORALE_RETURN_IF_ERROR(CheckNothingUnknown(
            field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                 : reflection.GetMessage(message, field),
            inner));
      }
    }
  }
  return OkStatus();
}

StatusOr<identity::Party> ResearcherOf(const v1::SignedJob& job, const crypto::Certificate& root,
                                       Time now) {
  CHORALE_ASSIGN_OR_RETURN(const crypto::Certificate certificate,
                           crypto::Certificate::FromPem(job.certificate()));
  CHORALE_RETURN_IF_ERROR(Annotate(certificate.VerifyIssuedBy(root, now), "the job's certificate"));
  CHORALE_ASSIGN_OR_RETURN(identity::Party party, identity::PartyOf(certificate));
  CHORALE_ASSIGN_OR_RETURN(const identity::Party authority, identity::AuthorityOf(root));
  if (party.federation != authority.federation) {
    return Unauthenticated("the job's certificate belongs to another federation than " +
                           authority.federation);
  }
  if (party.role != v1::PARTY_ROLE_RESEARCHER) {
    return PermissionDenied("jobs are signed by researchers; this certificate is a " +
                            identity::RoleName(party.role) + "'s");
  }
  return party;
}

}  // namespace

v1::SignedJob SignJob(const v1::JobSpec& spec, const identity::Identity& researcher) {
  v1::SignedJob job;
  job.set_spec(SerializeDeterministically(spec));
  job.set_certificate(researcher.certificate().pem());
  const crypto::Signature signature = researcher.signing_key().Sign(kDomain, AsBytes(job.spec()));
  job.set_signature(signature.data(), signature.size());
  return job;
}

StatusOr<VerifiedJob> VerifySignedJob(const v1::SignedJob& job, const crypto::Certificate& root,
                                      Time now) {
  if (job.spec().size() > kMaxSpecBytes) {
    return InvalidArgument("the job's specification has " + std::to_string(job.spec().size()) +
                           " bytes, at most " + std::to_string(kMaxSpecBytes) + " are taken");
  }
  if (job.certificate().size() > kMaxCertificateBytes) {
    return InvalidArgument("the job's certificate has " + std::to_string(job.certificate().size()) +
                           " bytes, at most " + std::to_string(kMaxCertificateBytes) +
                           " are taken");
  }
  CHORALE_ASSIGN_OR_RETURN(identity::Party researcher, ResearcherOf(job, root, now));
  CHORALE_RETURN_IF_ERROR(
      Annotate(crypto::VerifySignature(researcher.signing_key, kDomain, AsBytes(job.spec()),
                                       AsBytes(job.signature())),
               "the job's signature"));

  VerifiedJob verified;
  if (!verified.spec.ParseFromString(job.spec())) {
    return InvalidArgument("the job's specification is no JobSpec message");
  }
  CHORALE_RETURN_IF_ERROR(CheckNothingUnknown(verified.spec, ""));
  CHORALE_RETURN_IF_ERROR(Validate(verified.spec));
  if (IsPrivate(verified.spec) && !HasNoise(verified.spec)) {
    return InvalidArgument(
        "every noise_multiplier of privacy is required: `chorale job submit` fills them in");
  }
  verified.researcher = std::move(researcher);
  verified.spec_digest = crypto::Sha256(AsBytes(job.spec()));
  return verified;
}

}  // namespace chorale::jobs
