#include "core/config/yaml_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace chorale::config {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Kind = YamlNode::Kind;

std::string Problem(std::string_view text) {
  const StatusOr<YamlNode> tree = ReadYamlTree(text, "a.yaml");
  EXPECT_TRUE(tree.ok() || tree.status().code() == StatusCode::kInvalidArgument);
  return MessageOf(tree.status());
}

std::string Repeat(std::string_view text, std::size_t count) {
  std::string result;
  for (std::size_t i = 0; i < count; ++i) result += text;
  return result;
}

TEST(YamlTreeTest, KeepsOrderAndLines) {
  const auto tree = ReadYamlTree("# comment\nb: 1\na:\n  - x\n  - {c: 'y'}\n", "a.yaml");

  ASSERT_TRUE(tree.ok()) << tree.status();
  ASSERT_EQ(tree->kind, Kind::kMap);
  ASSERT_EQ(tree->entries.size(), 2u);
  EXPECT_EQ(tree->entries[0].key, "b");
  EXPECT_EQ(tree->entries[0].line, 2);
  EXPECT_EQ(tree->entries[0].value.scalar, "1");
  EXPECT_EQ(tree->entries[1].line, 3);
  const YamlNode& list = tree->entries[1].value;
  ASSERT_EQ(list.items.size(), 2u);
  EXPECT_EQ(list.items[0].line, 4);
  EXPECT_EQ(list.items[1].entries[0].value.scalar, "y");
  EXPECT_EQ(list.items[1].entries[0].line, 5);
}

TEST(YamlTreeTest, TellsNothingFromAnEmptyText) {
  const auto tree = ReadYamlTree("a:\nb: ~\nc: null\nd: ''\ne: {}\nf: []\n", "a.yaml");

  ASSERT_TRUE(tree.ok()) << tree.status();
  const std::vector<Kind> kinds = {Kind::kNull,   Kind::kNull, Kind::kNull,
                                   Kind::kScalar, Kind::kMap,  Kind::kList};
  ASSERT_EQ(tree->entries.size(), kinds.size());
  for (std::size_t i = 0; i < kinds.size(); ++i)
    EXPECT_EQ(tree->entries[i].value.kind, kinds[i]) << i;
}

TEST(YamlTreeTest, AnEmptyFileIsNothing) {
  EXPECT_EQ(ReadYamlTree("", "a.yaml")->kind, Kind::kNull);
  EXPECT_EQ(ReadYamlTree("# only this\n", "a.yaml")->kind, Kind::kNull);
}

TEST(YamlTreeTest, TakesAByteOrderMarkAndOtherLineEnds) {
  const auto tree = ReadYamlTree(
      "\xef\xbb\xbf"
      "a: h\xc3\xb4pital\r\nb: 2\r\n",
      "a.yaml");

  ASSERT_TRUE(tree.ok()) << tree.status();
  EXPECT_EQ(tree->entries[0].key, "a");
  EXPECT_EQ(tree->entries[0].value.scalar, "h\xc3\xb4pital");
  EXPECT_EQ(tree->entries[1].line, 2);
}

TEST(YamlTreeTest, RefusesWhatHidesWhatIsRead) {
  EXPECT_EQ(Problem("a: 1\nb: &x 2\n"), "a.yaml:2: anchors are not supported; write the value out");
  EXPECT_THAT(Problem("a: &x [1]\nb: *x\n"), StartsWith("a.yaml:1: anchors are not supported"));
  EXPECT_THAT(Problem("a: *x\n"), StartsWith("a.yaml:1: "));
  EXPECT_EQ(Problem("a:\n  !!str 1\n"), "a.yaml:2: tags are not supported");
  EXPECT_EQ(Problem("a: !x {b: 1}\n"), "a.yaml:1: tags are not supported");
}

TEST(YamlTreeTest, RefusesKeysThatAreNoWords) {
  EXPECT_THAT(Problem("? [a]\n: b\n"), HasSubstr("a key must be a word"));
  EXPECT_THAT(Problem("? {a: b}\n: c\n"), HasSubstr("a key must be a word"));
  EXPECT_THAT(Problem(": c\n"), HasSubstr("a key is missing"));
}

TEST(YamlTreeTest, RefusesASecondDocument) {
  EXPECT_THAT(Problem("a: 1\n---\nb: 2\n"), HasSubstr("one document"));
}

TEST(YamlTreeTest, NamesTheLineOfABadSpelling) {
  EXPECT_THAT(Problem("a: 1\nb: [1, 2\nc: 3\n"), StartsWith("a.yaml:3: this is not YAML: "));
}

TEST(YamlTreeTest, RefusesAQuoteThatIsNeverClosed) {
  for (const std::string_view text :
       {"a: 'open", "a: 'open\n", "a: \"open\nb: 2\n", "a: [1, 2", "a: {b: 1\n"}) {
    EXPECT_THAT(Problem(text), HasSubstr("this is not YAML: ")) << text;
  }
}

TEST(YamlTreeTest, TakesADocumentThatSaysItsStartAndEnd) {
  EXPECT_EQ(Problem("---\na: 1\n...\n"), "");
  EXPECT_EQ(Problem("a: |\n  two\n  lines"), "");
}

TEST(YamlTreeTest, RefusesBytesThatAreNoText) {
  EXPECT_EQ(Problem("a: 1\nb: \xff\n"), "a.yaml:2: the file is not UTF-8 text");
  EXPECT_EQ(Problem("a: \x04\n"), "a.yaml:1: the file holds a control character");
  EXPECT_EQ(Problem(std::string_view("a: \0\n", 5)),
            "a.yaml:1: the file holds a control character");
}

TEST(YamlTreeTest, LimitsDepth) {
  EXPECT_EQ(Problem(Repeat("[", 32) + Repeat("]", 32)), "");
  EXPECT_THAT(Problem(Repeat("[", 33) + Repeat("]", 33)), HasSubstr("over 32 levels"));
  EXPECT_NE(Problem(Repeat("[", 100'000)), "");
  EXPECT_NE(Problem(Repeat("{a: ", 100'000)), "");
  EXPECT_NE(Problem(Repeat("- ", 100'000)), "");
}

TEST(YamlTreeTest, LimitsSize) {
  EXPECT_EQ(Problem("a: " + std::string(kMaxFileBytes - 3, 'x')), "");
  EXPECT_THAT(Problem("a: " + std::string(kMaxFileBytes - 2, 'x')), HasSubstr("over 1 MiB"));
  EXPECT_THAT(Problem("[" + Repeat("1,", kMaxNodes + 1) + "]"), HasSubstr("over 100000 values"));
}

}  // namespace
}  // namespace chorale::config
