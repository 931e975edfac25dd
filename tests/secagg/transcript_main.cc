// Runs a few sessions and writes everything about them as lines of text, for oracle.py to compute
// again:  <word> <words> <hexadecimal>. What sites keep secret is written as well.
#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <string>

#include "tests/secagg/federation.h"

namespace chorale::secagg {
namespace {

void WriteSession(std::ostream& out, const Federation& federation) {
  for (const Section& section : federation.spec().sections()) {
    out << "section " << static_cast<int>(section.bits) << ' ' << section.count << '\n';
  }
  out << "coordinator " << ToHex(federation.coordinator_key().public_key()) << '\n';
  for (const MemberIndex member : federation.Everybody()) {
    out << "site " << member << ' ' << ToHex(federation.key(member).public_key()) << '\n';
    out << "input " << member << ' ' << ToHex(federation.input(member)) << '\n';
  }
}

void WriteRound(std::ostream& out, const Federation& federation, std::uint32_t round,
                const Outcome& outcome) {
  for (const MemberIndex member : outcome.survivors) {
    out << "masked " << round << ' ' << member << ' ' << ToHex(federation.masked(member)) << '\n';
  }
  out << "sum " << round << ' ' << ToHex(outcome.sum) << '\n';
}

void WriteEnd(std::ostream& out, const Federation& federation) {
  for (const MemberIndex member : federation.Everybody()) {
    for (const Bytes& secret : federation.random(member).secrets()) {
      out << "secret " << member << ' ' << ToHex(secret) << '\n';
    }
  }
  out << "message SessionManifest to 0 " << ToHex(federation.server().manifest()) << '\n';
  const Bytes* directory = nullptr;
  for (const Crossing& crossing : federation.transcript()) {
    if (crossing.kind == MessageKind::kKeyDirectory) {  // Large, and the same for everybody.
      if (directory != nullptr && *directory == crossing.message) continue;
      directory = &crossing.message;
    }
    out << "message " << NameOf(crossing.kind) << (crossing.is_from_site ? " from " : " to ")
        << crossing.member << ' ' << ToHex(crossing.message) << '\n';
  }
  out << "end\n";
}

std::vector<Section> EveryRing() {
  return {{RingBits::k24, 11}, {RingBits::k32, 9}, {RingBits::k16, 5}, {RingBits::k64, 6}};
}

void Write(std::ostream& out) {
  {
    Federation federation({.num_members = 8, .num_rounds = 3, .sections = EveryRing()});
    WriteSession(out, federation);
    federation.SetUp({{6, DropPoint::kAfterKeys}});
    WriteRound(out, federation, 1, federation.Run(1));
    federation.model[4] ^= 1;
    WriteRound(out, federation, 3,
               federation.Run(3, {{2, DropPoint::kBeforeUpload}, {5, DropPoint::kAfterUpload}}));
    WriteEnd(out, federation);
  }
  {
    Federation federation({.num_members = 4,
                           .num_rounds = 1,
                           .suite = Suite::kAes256Ctr,
                           .seed = 9,
                           .sections = EveryRing()});
    WriteSession(out, federation);
    federation.SetUp();
    WriteRound(out, federation, 1, federation.Run(1));
    WriteEnd(out, federation);
  }
  {
    Federation federation({.num_members = kMaxCompleteGraph + 2,
                           .num_rounds = 1,
                           .seed = 10,
                           .sections = {{RingBits::k32, 40}}});
    WriteSession(out, federation);
    federation.SetUp();
    WriteRound(out, federation, 1,
               federation.Run(1, {{7, DropPoint::kBeforeUpload}, {70, DropPoint::kBeforeUpload}}));
    WriteEnd(out, federation);
  }
}

}  // namespace
}  // namespace chorale::secagg

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc != 2) {
    std::cerr << "usage: secagg_transcript FILE\n";
    return 2;
  }
  std::ofstream out(argv[1]);
  chorale::secagg::Write(out);
  out.close();
  return out.good() ? 0 : 1;
}
