#include "core/config/yaml_writer.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "chorale/v1/config.pb.h"
#include "chorale/v1/identity.pb.h"
#include "chorale/v1/jobs.pb.h"
#include "core/config/yaml.h"
#include "core/random.h"

namespace chorale::config {
namespace {

using google::protobuf::util::MessageDifferencer;

v1::JobSpec MakeJob() {
  v1::JobSpec job;
  job.set_name("heart");
  job.mutable_data()->add_features()->set_column("age");
  job.mutable_data()->mutable_features(0)->mutable_numeric();
  v1::FeatureSpec& pain = *job.mutable_data()->add_features();
  pain.set_column("chest pain");
  pain.mutable_categorical()->add_levels("1");
  pain.mutable_categorical()->add_levels("typical");
  job.mutable_model()->mutable_mlp()->add_hidden_units(16);
  job.mutable_model()->mutable_mlp()->add_hidden_units(8);
  job.mutable_model()->mutable_mlp()->set_activation(v1::ACTIVATION_TANH);
  job.mutable_training()->set_local_epochs(0);
  job.mutable_training()->set_l2_penalty(0.1);
  job.mutable_rounds()->mutable_deadline()->set_seconds(90);
  return job;
}

template <typename Message>
bool ComesBack(const Message& message) {
  Message again;
  const Status status = ParseYaml(ToYaml(message), "again.yaml", again);
  EXPECT_TRUE(status.ok()) << status << "\n" << ToYaml(message);
  return MessageDifferencer::Equals(message, again);
}

TEST(ToYamlTest, WritesFieldsInOrder) {
  EXPECT_EQ(ToYaml(MakeJob()), R"(name: heart
data:
  features:
    - column: age
      numeric: {}
    - column: "chest pain"
      categorical:
        levels: ["1", typical]
model:
  mlp:
    hidden_units: [16, 8]
    activation: tanh
training:
  local_epochs: 0
  l2_penalty: 0.1
rounds:
  deadline: 90s
)");
}

TEST(ToYamlTest, WhatIsWrittenIsReadBack) { EXPECT_TRUE(ComesBack(MakeJob())); }

TEST(ToYamlTest, AnEmptyMessageIsWrittenToo) {
  EXPECT_EQ(ToYaml(v1::JobSpec()), "{}\n");
  EXPECT_TRUE(ComesBack(v1::JobSpec()));
}

TEST(ToYamlTest, AListOfEmptyMessagesComesBack) {
  v1::PolicyConfig policy;
  policy.add_allow();
  policy.add_allow()->add_models("mlp");
  policy.add_allow();

  EXPECT_EQ(ToYaml(policy), "allow:\n  - {}\n  - models: [mlp]\n  - {}\n");
  EXPECT_TRUE(ComesBack(policy));
}

TEST(ToYamlTest, WritesARoster) {
  v1::Roster roster;
  roster.set_federation("cardio");
  roster.set_version(7);
  roster.mutable_issued_at()->set_seconds(1'795'162'545);
  v1::RosterEntry& member = *roster.add_members();
  member.set_role(v1::PARTY_ROLE_SITE);
  member.set_name("north");
  member.set_serial("12e4");
  member.mutable_revoked_at()->set_seconds(1'795'162'545);
  member.set_revocation_reason("lost: \"the laptop\"");

  EXPECT_EQ(ToYaml(roster), R"(federation: cardio
version: 7
issued_at: 2026-11-20T08:15:45Z
members:
  - role: site
    name: north
    serial: "12e4"
    revoked_at: 2026-11-20T08:15:45Z
    revocation_reason: "lost: \"the laptop\""
)");
  EXPECT_TRUE(ComesBack(roster));
}

TEST(ToYamlTest, QuotesWhatOtherReadersWouldTakeForSomethingElse) {
  const auto written = [](std::string_view text) {
    v1::JobSpec job;
    job.set_name(std::string(text));
    const std::string yaml = ToYaml(job);
    return yaml.substr(6, yaml.size() - 7);
  };
  EXPECT_EQ(written("north-2"), "north-2");
  EXPECT_EQ(written("/var/lib/chorale"), "/var/lib/chorale");
  for (const std::string_view text :
       {"yes", "No",  "true", "NULL", "y",   "on", "1",   "1e3", ".5",   "-",
        "~",   "a b", "a: b", "#a",   "- a", "@a", "a,b", "*a",  "0x1f", "2026-11-20"}) {
    EXPECT_EQ(written(text), "\"" + std::string(text) + "\"");
  }
  EXPECT_EQ(written("a\n\t\"\\"), "\"a\\n\\t\\\"\\\\\"");
  EXPECT_EQ(written("\x1b[2J"), "\"\\u001B[2J\"");
  EXPECT_EQ(written("h\xc3\xb4pital"), "\"h\xc3\xb4pital\"");
}

TEST(ToYamlTest, NumbersComeBackExactly) {
  for (const double value :
       {0.1, 1e-300, 1.7976931348623157e308, -0.0, 1.0 / 3, 5e-324, 123456789012345680.0}) {
    v1::TrainingSpec training;
    training.set_l2_penalty(value);

    v1::TrainingSpec again;
    ASSERT_TRUE(ParseYaml(ToYaml(training), "f.yaml", again).ok());

    EXPECT_EQ(again.l2_penalty(), value);
    EXPECT_EQ(std::signbit(again.l2_penalty()), std::signbit(value));
  }
}

TEST(ToYamlTest, BytesComeBack) {
  v1::EnrolmentRequest request;
  request.set_csr(std::string("\0\xff\n", 3));

  EXPECT_TRUE(ComesBack(request));
}

TEST(ToYamlTest, AnyTextComesBack) {
  SeededRandom random(10);
  const std::vector<std::string> parts = {"a",
                                          "1",
                                          " ",
                                          ":",
                                          "-",
                                          "\"",
                                          "'",
                                          "\\",
                                          "\n",
                                          "\t",
                                          "\r",
                                          "#",
                                          "{",
                                          "[",
                                          "|",
                                          "\x01",
                                          "\x7f",
                                          "\xc3\xa9",
                                          "\xc2\x85",
                                          "\xe2\x80\xa8",
                                          "\xef\xbb\xbf",
                                          "\xf0\x9f\x98\x80",
                                          "null",
                                          "~",
                                          "!",
                                          "&",
                                          "*",
                                          "%",
                                          "@",
                                          "`",
                                          ",",
                                          "?"};
  for (int i = 0; i < 2000; ++i) {
    v1::CsvConnector csv;
    for (std::uint64_t left = random.NextBelow(6); left > 0; --left) {
      csv.mutable_path()->append(parts[random.NextBelow(parts.size())]);
      csv.add_missing(parts[random.NextBelow(parts.size())] +
                      parts[random.NextBelow(parts.size())]);
    }
    EXPECT_TRUE(ComesBack(csv)) << ToYaml(csv);
  }
}

TEST(ToYamlTest, WritesWhatNoFileCouldHold) {
  v1::Roster roster;
  roster.mutable_issued_at()->set_seconds(std::numeric_limits<std::int64_t>::max());
  roster.add_members()->set_role(static_cast<v1::PartyRole>(99));

  EXPECT_EQ(ToYaml(roster), "issued_at: invalid\nmembers:\n  - role: 99\n");
}

}  // namespace
}  // namespace chorale::config
