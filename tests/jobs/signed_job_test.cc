#include "jobs/signed_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/bytes.h"
#include "core/random.h"
#include "tests/support/test_pki.h"
#include "tests/support/valid_job.h"

namespace chorale::jobs {
namespace {

using support::TestPki;
using support::ValidJob;
using testing::HasSubstr;

class SignedJobTest : public testing::Test {
 protected:
  StatusOr<VerifiedJob> Verify(const v1::SignedJob& job) const {
    return VerifySignedJob(job, researcher_.root(), now_);
  }
  // Signs bytes that SignJob would not make.
  v1::SignedJob SignBytes(const std::string& spec) const {
    v1::SignedJob job = SignJob(ValidJob(), researcher_);
    job.set_spec(spec);
    const crypto::Signature signature =
        researcher_.signing_key().Sign("chorale/v1/job", AsBytes(spec));
    job.set_signature(signature.data(), signature.size());
    return job;
  }

  TestPki pki_;
  identity::Identity researcher_ = pki_.Load(v1::PARTY_ROLE_RESEARCHER, "ada");
  Time now_ = SystemClock().WallNow();
};

TEST_F(SignedJobTest, VerifiesWhatAResearcherSigned) {
  const v1::SignedJob job = SignJob(ValidJob(), researcher_);

  const StatusOr<VerifiedJob> verified = Verify(job);

  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(verified->researcher.name, "ada");
  EXPECT_EQ(verified->spec.SerializeAsString(), ValidJob().SerializeAsString());
  EXPECT_EQ(verified->spec_digest, crypto::Sha256(AsBytes(job.spec())));
}

TEST_F(SignedJobTest, RefusesAChangedSpecification) {
  v1::SignedJob job = SignJob(ValidJob(), researcher_);
  v1::JobSpec changed = ValidJob();
  changed.set_seed(8);
  job.set_spec(changed.SerializeAsString());

  EXPECT_EQ(Verify(job).status().code(), StatusCode::kPermissionDenied);
}

TEST_F(SignedJobTest, RefusesTheSignatureOfAnotherResearcher) {
  const identity::Identity other = pki_.Load(v1::PARTY_ROLE_RESEARCHER, "grace");
  v1::SignedJob job = SignJob(ValidJob(), researcher_);
  job.set_certificate(other.certificate().pem());

  EXPECT_EQ(Verify(job).status().code(), StatusCode::kPermissionDenied);
}

TEST_F(SignedJobTest, RefusesASignatureOfAnotherDomain) {
  v1::SignedJob job = SignJob(ValidJob(), researcher_);
  const crypto::Signature signature =
      researcher_.signing_key().Sign("chorale/v1/manifest", AsBytes(job.spec()));
  job.set_signature(signature.data(), signature.size());

  EXPECT_EQ(Verify(job).status().code(), StatusCode::kPermissionDenied);
}

TEST_F(SignedJobTest, RefusesAJobThatASiteSigned) {
  const identity::Identity site = pki_.Load(v1::PARTY_ROLE_SITE, "north");

  const StatusOr<VerifiedJob> verified = Verify(SignJob(ValidJob(), site));

  EXPECT_EQ(verified.status().code(), StatusCode::kPermissionDenied);
  EXPECT_THAT(MessageOf(verified.status()), HasSubstr("signed by researchers"));
}

TEST_F(SignedJobTest, RefusesACertificateOfAnotherRoot) {
  TestPki stranger("choir");
  const identity::Identity ada = stranger.Load(v1::PARTY_ROLE_RESEARCHER, "ada");

  EXPECT_EQ(Verify(SignJob(ValidJob(), ada)).status().code(), StatusCode::kUnauthenticated);
}

TEST_F(SignedJobTest, RefusesAnExpiredCertificate) {
  const identity::Identity late = pki_.LoadExpired(v1::PARTY_ROLE_RESEARCHER, "late");

  EXPECT_EQ(Verify(SignJob(ValidJob(), late)).status().code(), StatusCode::kUnauthenticated);
}

TEST_F(SignedJobTest, RefusesASignatureOfAWrongLength) {
  v1::SignedJob job = SignJob(ValidJob(), researcher_);
  job.mutable_signature()->pop_back();

  EXPECT_EQ(Verify(job).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(SignedJobTest, RefusesWhatIsTooLarge) {
  v1::SignedJob large_spec = SignJob(ValidJob(), researcher_);
  large_spec.set_spec(std::string((1u << 20) + 1, 'x'));
  v1::SignedJob large_certificate = SignJob(ValidJob(), researcher_);
  large_certificate.set_certificate(std::string((16u << 10) + 1, 'x'));

  EXPECT_EQ(Verify(large_spec).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Verify(large_certificate).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(SignedJobTest, RefusesASpecificationThatIsNoMessage) {
  EXPECT_EQ(Verify(SignBytes("\xff\xff\xff")).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(SignedJobTest, RefusesAnInvalidSpecification) {
  v1::JobSpec spec = ValidJob();
  spec.mutable_rounds()->set_count(0);

  const StatusOr<VerifiedJob> verified = Verify(SignJob(spec, researcher_));

  EXPECT_EQ(verified.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(verified.status()), HasSubstr("rounds.count"));
}

TEST_F(SignedJobTest, RefusesAFieldThatThisVersionWouldIgnore) {
  // Field 900, a varint: a later version might mean something by it.
  const std::string unknown = "\xa0\x38\x01";
  v1::JobSpec spec = ValidJob();
  spec.mutable_rounds()
      ->GetReflection()
      ->MutableUnknownFields(spec.mutable_rounds())
      ->AddVarint(900, 1);

  for (const std::string& bytes :
       {ValidJob().SerializeAsString() + unknown, spec.SerializeAsString()}) {
    const StatusOr<VerifiedJob> verified = Verify(SignBytes(bytes));

    EXPECT_EQ(verified.status().code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(MessageOf(verified.status()), HasSubstr("does not know"));
  }
}

TEST_F(SignedJobTest, RefusesAnEnumValueThatThisVersionDoesNotKnow) {
  v1::JobSpec spec = ValidJob();
  spec.mutable_data()->set_standardization(static_cast<v1::Standardization>(99));

  EXPECT_EQ(Verify(SignJob(spec, researcher_)).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(SignedJobTest, SurvivesDamagedEnvelopes) {
  const std::string good = SignJob(ValidJob(), researcher_).SerializeAsString();
  SeededRandom random(11);
  for (int i = 0; i < 300; ++i) {
    std::string bytes = good;
    if (i % 3 == 0) bytes.resize(random.NextBelow(bytes.size()));
    for (std::uint64_t flips = random.NextBelow(4); !bytes.empty() && flips > 0; --flips) {
      bytes[random.NextBelow(bytes.size())] ^= static_cast<char>(1 + random.NextBelow(255));
    }
    v1::SignedJob job;
    if (!job.ParseFromString(bytes)) continue;
    // Only the exact envelope, or one whose certificate differs in white space, may pass.
    const StatusOr<VerifiedJob> verified = Verify(job);
    if (!verified.ok()) continue;
    EXPECT_EQ(job.spec(), SignJob(ValidJob(), researcher_).spec());
  }
}

}  // namespace
}  // namespace chorale::jobs
