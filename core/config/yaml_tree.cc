#include "core/config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <sstream>
#include <utility>

#include "core/utf8.h"

namespace chorale::config {
namespace {

YamlNode MakeNode(YamlNode::Kind kind, int line) {
  YamlNode node;
  node.kind = kind;
  node.line = line;
  return node;
}

// Builds the tree from the parser's events: no node is ever shared, so aliases cannot multiply.
// After the first error the rest of the document is ignored.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::string_view file_name) : file_name_(file_name) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    RefuseAnchor(mark, anchor);
    Add(MakeNode(YamlNode::Kind::kNull, LineAt(mark)));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Fail(LineAt(mark), "aliases are not supported; write the value out");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    YamlNode node = MakeNode(YamlNode::Kind::kScalar, LineAt(mark));
    node.scalar = value;
    Add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kList, mark, tag, anchor);
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(YamlNode::Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override { Close(); }

  [[nodiscard]] StatusOr<YamlNode> Finish() && {
    if (!status_.ok()) return status_;
    return std::move(root_);
  }

  void Fail(int line, std::string_view problem) {
    if (!status_.ok()) return;
    status_ =
        InvalidArgument(file_name_ + ":" + std::to_string(line) + ": " + std::string(problem));
  }

 private:
  // A list or map whose end has not come.
  struct OpenNode {
    YamlNode node;
    std::optional<std::string> key;  // Of the entry whose value comes next.
    int key_line = 0;
  };

  static int LineAt(const YAML::Mark& mark) { return std::max(mark.line, 0) + 1; }

  void RefuseAnchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) Fail(LineAt(mark), "anchors are not supported; write the value out");
  }

  void RefuseTag(const YAML::Mark& mark, const std::string& tag) {
    // The parser says "?" for a plain value and "!" for a quoted one.
    if (!tag.empty() && tag != "?" && tag != "!") Fail(LineAt(mark), "tags are not supported");
  }

  void Open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    RefuseAnchor(mark, anchor);
    RefuseTag(mark, tag);
    if (!status_.ok()) return;
    if (IsKeyNext()) return Fail(LineAt(mark), "a key must be a word, not a list or a map");
    if (open_.size() >= kMaxDepth)
      return Fail(LineAt(mark), "the file is nested over 32 levels deep");
    open_.push_back({.node = MakeNode(kind, LineAt(mark)), .key = std::nullopt});
  }

  void Close() {
    if (!status_.ok()) return;
    YamlNode done = std::move(open_.back().node);
    open_.pop_back();
    Add(std::move(done));
  }

  [[nodiscard]] bool IsKeyNext() const {
    return !open_.empty() && open_.back().node.kind == YamlNode::Kind::kMap && !open_.back().key;
  }

  void Add(YamlNode node) {
    if (!status_.ok()) return;
    if (++num_nodes_ > kMaxNodes) return Fail(node.line, "the file has over 100000 values");
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    OpenNode& parent = open_.back();
    if (IsKeyNext()) {
      if (node.kind != YamlNode::Kind::kScalar)
        return Fail(node.line, "a key is missing before the colon");
      parent.key = std::move(node.scalar);
      parent.key_line = node.line;
    } else if (parent.node.kind == YamlNode::Kind::kMap) {
      parent.node.entries.push_back({*std::move(parent.key), parent.key_line, std::move(node)});
      parent.key.reset();
    } else {
      parent.node.items.push_back(std::move(node));
    }
  }

  const std::string file_name_;
  Status status_;
  std::size_t num_nodes_ = 0;
  std::vector<OpenNode> open_;  // Innermost last.
  YamlNode root_;
};

struct TextProblem {
  int line;
  std::string_view what;
};

// What the parser must not see: it guesses other encodings, and takes one control character for the
// end.
std::optional<TextProblem> FindTextProblem(std::string_view text) {
  int line = 1;
  while (!text.empty()) {
    const CodePoint point = DecodeUtf8(text);
    if (!point.is_valid) return TextProblem{line, "the file is not UTF-8 text"};
    const bool is_control = point.value < 0x20 || point.value == 0x7f;
    if (is_control && point.value != '\n' && point.value != '\r' && point.value != '\t') {
      return TextProblem{line, "the file holds a control character"};
    }
    if (point.value == '\n') ++line;
    text.remove_prefix(point.size_bytes);
  }
  return std::nullopt;
}

}  // namespace

StatusOr<YamlNode> ReadYamlTree(std::string_view text, std::string_view file_name) {
  TreeBuilder builder(file_name);
  if (text.size() > kMaxFileBytes) {
    builder.Fail(1, "the file has over 1 MiB");
    return std::move(builder).Finish();
  }
  if (const auto problem = FindTextProblem(text)) {
    builder.Fail(problem->line, problem->what);
    return std::move(builder).Finish();
  }
  try {
    // The parser takes a quote that is never closed for closed at the end of the file, but not at a
    // document's end.
    std::istringstream stream(std::string(text) + "\n...\n");
    YAML::Parser parser(stream);
    if (parser.HandleNextDocument(builder)) {
      TreeBuilder second(file_name);
      if (parser.HandleNextDocument(second))
        builder.Fail(1, "the file must hold one document, not several");
    }
  } catch (const YAML::Exception& error) {
    builder.Fail(std::max(error.mark.line, 0) + 1, "this is not YAML: " + error.msg);
  } catch (const std::exception& error) {
    builder.Fail(1, std::string("this is not YAML: ") + error.what());
  }
  return std::move(builder).Finish();
}

}  // namespace chorale::config
