#include "models/safetensors.h"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/storage/file.h"

namespace chorale::models {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // As the Python package.
constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kAlignment = 8;
constexpr std::size_t kMaxTensors = 65536;
constexpr std::size_t kMaxDimensions = 8;
constexpr std::string_view kMetadataName = "__metadata__";

// A tensor as the JSON header of a safetensors file claims it; nothing but the form is checked.
struct ClaimedTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin_bytes = 0;
  std::uint64_t end_bytes = 0;
};

struct ClaimedHeader {
  std::vector<ClaimedTensor> tensors;  // In order of the header.
  std::map<std::string, std::string> metadata;
};

std::string_view DtypeOf(NumberType type) { return type == NumberType::kFloat64 ? "F64" : "F32"; }
std::uint64_t BytesOf(NumberType type) {
  return type == NumberType::kFloat64 ? sizeof(double) : sizeof(float);
}

// Takes the parser's events one by one: what is not of the format is refused on sight, and a key
// given twice is seen (a parsed JSON object would keep only one of them).
class HeaderHandler final : public nlohmann::json_sax<json> {
 public:
  explicit HeaderHandler(NumberType type) : type_(type) {}

  bool start_object(std::size_t /*elements*/) override {
    switch (place_) {
      case Place::kStart:
        place_ = Place::kNames;
        return true;
      case Place::kEntry:
        place_ = name_ == kMetadataName ? Place::kMetadata : Place::kTensor;
        return true;
      default:
        return Refuse("an object stands where none belongs");
    }
  }

  bool end_object() override {
    switch (place_) {
      case Place::kNames:
        place_ = Place::kEnd;
        return true;
      case Place::kMetadata:
        place_ = Place::kNames;
        return true;
      case Place::kTensor:
        return EndTensor();
      default:
        return Refuse("an object ends where none began");
    }
  }

  bool key(string_t& text) override {
    switch (place_) {
      case Place::kNames:
        return StartEntry(text);
      case Place::kMetadata:
        key_ = text;
        place_ = Place::kMetadataValue;
        return header_.metadata.contains(key_) ? Refuse("a metadata key is repeated") : true;
      case Place::kTensor:
        return StartField(text);
      default:
        return Refuse("a key stands where none belongs");
    }
  }

  bool string(string_t& text) override {
    if (place_ == Place::kMetadataValue) {
      header_.metadata.emplace(std::move(key_), std::move(text));
      place_ = Place::kMetadata;
      return true;
    }
    if (place_ != Place::kDtype) return Refuse("a string stands where none belongs");
    if (text != DtypeOf(type_)) {
      return Refuse("a dtype is not " + std::string(DtypeOf(type_)) +
                    ", the only one that is read");
    }
    place_ = Place::kTensor;
    return true;
  }

  bool start_array(std::size_t /*elements*/) override {
    if (place_ == Place::kShape && !shape_) {
      shape_.emplace();
      return true;
    }
    if (place_ == Place::kOffsets && !offsets_) {
      offsets_.emplace();
      return true;
    }
    return Refuse("an array stands where none belongs");
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offsets_->size() != 2) {
      return Refuse("data_offsets must have two numbers");
    }
    place_ = Place::kTensor;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape && shape_) {
      shape_->push_back(value);
      return shape_->size() > kMaxDimensions ? Refuse("a shape has over 8 dimensions") : true;
    }
    if (place_ == Place::kOffsets && offsets_) {
      offsets_->push_back(value);
      return offsets_->size() > 2 ? Refuse("data_offsets must have two numbers") : true;
    }
    return Refuse("a number stands where none belongs");
  }

  bool number_integer(number_integer_t /*value*/) override {
    return Refuse("a number is negative");
  }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override {
    return Refuse("a number is no whole number below 2^64");
  }
  bool null() override { return Refuse("a null stands where none belongs"); }
  bool boolean(bool /*value*/) override { return Refuse("a boolean stands where none belongs"); }
  bool binary(binary_t& /*value*/) override {
    return Refuse("binary data stand where none belong");
  }

  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const json::exception& /*error*/) override {
    // The parser's own words quote the text, which may be anything.
    return Refuse("malformed JSON at byte " + std::to_string(position));
  }

  StatusOr<ClaimedHeader> Finish() && {
    if (!problem_.empty()) return InvalidArgument("safetensors header: " + problem_);
    if (place_ != Place::kEnd) return InvalidArgument("safetensors header: it is no JSON object");
    return std::move(header_);
  }

 private:
  enum class Place {
    kStart,          // Before the outer object.
    kNames,          // In it, before a name.
    kEntry,          // After a name.
    kMetadata,       // In the metadata, before a key.
    kMetadataValue,  // After a key of the metadata.
    kTensor,         // In a tensor, before a key.
    kDtype,          // After "dtype".
    kShape,          // After "shape", or in its array.
    kOffsets,        // After "data_offsets", or in its array.
    kEnd,            // After the outer object.
  };

  bool Refuse(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }

  bool StartEntry(const std::string& name) {
    if (!names_.insert(name).second) return Refuse("a name is repeated");
    if (header_.tensors.size() == kMaxTensors) return Refuse("there are over 65536 tensors");
    name_ = name;
    has_dtype_ = false;
    shape_.reset();
    offsets_.reset();
    place_ = Place::kEntry;
    return true;
  }

  bool StartField(const std::string& name) {
    if (name == "dtype" && !has_dtype_) {
      has_dtype_ = true;
      place_ = Place::kDtype;
    } else if (name == "shape" && !shape_) {
      place_ = Place::kShape;
    } else if (name == "data_offsets" && !offsets_) {
      place_ = Place::kOffsets;
    } else {
      return Refuse("a tensor has a key that is unknown or repeated");
    }
    return true;
  }

  bool EndTensor() {
    if (!has_dtype_ || !shape_ || !offsets_) {
      return Refuse("a tensor lacks dtype, shape or data_offsets");
    }
    header_.tensors.push_back({.name = std::move(name_),
                               .shape = *std::move(shape_),
                               .begin_bytes = (*offsets_)[0],
                               .end_bytes = (*offsets_)[1]});
    place_ = Place::kNames;
    return true;
  }

  const NumberType type_;
  Place place_ = Place::kStart;
  ClaimedHeader header_;
  std::string problem_;
  std::set<std::string> names_;
  std::string name_;  // Of the entry being read.
  std::string key_;   // Of the metadata entry being read.
  bool has_dtype_ = false;
  std::optional<std::vector<std::uint64_t>> shape_;
  std::optional<std::vector<std::uint64_t>> offsets_;
};

// A JSON string. Never throws: what is not UTF-8 is replaced.
std::string Quoted(std::string_view text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string FormatTensor(const ClaimedTensor& tensor, NumberType type) {
  std::string shape;
  for (const std::uint64_t dimension : tensor.shape) {
    if (!shape.empty()) shape += ",";
    shape += std::to_string(dimension);
  }
  return Quoted(tensor.name) + R"(:{"dtype":")" + std::string(DtypeOf(type)) + R"(","shape":[)" +
         shape + R"(],"data_offsets":[)" + std::to_string(tensor.begin_bytes) + "," +
         std::to_string(tensor.end_bytes) + "]}";
}

StatusOr<ClaimedHeader> ParseHeader(std::string_view text, NumberType type) {
  // The parser would skip white space and a byte-order mark; the format has neither.
  if (!text.starts_with('{')) {
    return InvalidArgument("safetensors header: it must begin with '{'");
  }
  HeaderHandler handler(type);
  // False is told by the handler.
  static_cast<void>(json::sax_parse(text.begin(), text.end(), &handler));
  return std::move(handler).Finish();
}

std::string FormatHeader(const ClaimedHeader& header, NumberType type) {
  std::string out = "{";
  if (!header.metadata.empty()) {
    out += Quoted(kMetadataName) + ":{";
    bool is_first = true;
    for (const auto& [key, value] : header.metadata) {
      if (!is_first) out += ",";
      is_first = false;
      out += Quoted(key);
      out += ":";
      out += Quoted(value);
    }
    out += "}";
  }
  for (const ClaimedTensor& tensor : header.tensors) {
    if (out.size() > 1) out += ",";
    out += FormatTensor(tensor, type);
  }
  return out + "}";
}

// The claims in order of the data, as tensors that the layout can check. INVALID_ARGUMENT unless
// they fill `data_bytes` from the first byte to the last, one after another.
StatusOr<ParameterLayout> LayoutFromClaims(std::vector<ClaimedTensor> claims,
                                           std::uint64_t data_bytes, NumberType type) {
  std::stable_sort(claims.begin(), claims.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin_bytes, a.end_bytes) < std::pair(b.begin_bytes, b.end_bytes);
  });
  std::uint64_t expected_begin = 0;
  std::vector<ParameterLayout::Tensor> tensors;
  tensors.reserve(claims.size());
  for (ClaimedTensor& claim : claims) {
    if (claim.begin_bytes != expected_begin || claim.end_bytes < claim.begin_bytes) {
      return InvalidArgument("safetensors header: data_offsets overlap, leave a gap or run back");
    }
    expected_begin = claim.end_bytes;
    tensors.push_back({.name = std::move(claim.name), .shape = std::move(claim.shape)});
  }
  if (expected_begin != data_bytes) {
    return InvalidArgument("safetensors header: data_offsets end at " +
                           std::to_string(expected_begin) + ", the file has " +
                           std::to_string(data_bytes) + " bytes of data");
  }
  auto layout = ParameterLayout::Create(std::move(tensors));
  if (!layout.ok()) return Annotate(layout.status(), "safetensors header");
  for (std::size_t i = 0; i < claims.size(); ++i) {
    const TensorLayout& tensor = layout->tensors()[i];
    if (claims[i].end_bytes - claims[i].begin_bytes != tensor.size * BytesOf(type)) {
      return InvalidArgument("safetensors header: data_offsets disagree with the shape of tensor " +
                             std::to_string(i + 1));
    }
  }
  return layout;
}

ClaimedHeader ClaimsOf(const ParameterLayout& layout,
                       const std::map<std::string, std::string>& metadata, NumberType type) {
  ClaimedHeader header{.tensors = {}, .metadata = metadata};
  for (const TensorLayout& tensor : layout.tensors()) {
    header.tensors.push_back({.name = tensor.name,
                              .shape = tensor.shape,
                              .begin_bytes = tensor.offset * BytesOf(type),
                              .end_bytes = (tensor.offset + tensor.size) * BytesOf(type)});
  }
  return header;
}

}  // namespace

std::string SafetensorsHeader(const ParameterLayout& layout,
                              const std::map<std::string, std::string>& metadata, NumberType type) {
  std::string json = FormatHeader(ClaimsOf(layout, metadata, type), type);
  json.resize((json.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  std::string out;
  out.reserve(kLengthBytes + json.size());
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    out.push_back(static_cast<char>((std::uint64_t{json.size()} >> (8 * i)) & 0xFF));
  }
  return out + json;
}

Status SaveSafetensors(const std::filesystem::path& path, const ParameterLayout& layout,
                       std::span<const float> values,
                       const std::map<std::string, std::string>& metadata) {
  if (values.size() != layout.num_parameters()) {
    return InvalidArgument("safetensors: the layout has " +
                           std::to_string(layout.num_parameters()) + " parameters, got " +
                           std::to_string(values.size()));
  }
  for (const TensorLayout& tensor : layout.tensors()) {
    if (tensor.name == kMetadataName) {
      return InvalidArgument("safetensors: no tensor may be named __metadata__");
    }
  }
  const std::string header = SafetensorsHeader(layout, metadata);
  const ByteSpan data = AsBytes(values);
  Bytes file;
  file.reserve(header.size() + data.size());
  file.insert(file.end(), header.begin(), header.end());
  file.insert(file.end(), data.begin(), data.end());
  return storage::WriteFileAtomically(path, file, storage::FileMode::kPublic);
}

namespace {

template <typename Number>
StatusOr<SafetensorsOf<Number>> ParseAs(ByteSpan file, NumberType type) {
  if (file.size() < kLengthBytes) {
    return InvalidArgument("safetensors: the file is shorter than 8 bytes");
  }
  std::uint64_t header_bytes = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) header_bytes |= std::uint64_t{file[i]} << (8 * i);
  const ByteSpan rest = file.subspan(kLengthBytes);
  if (header_bytes > kMaxHeaderBytes || header_bytes > rest.size()) {
    return InvalidArgument("safetensors: the header claims " + std::to_string(header_bytes) +
                           " bytes, of which the file has " + std::to_string(rest.size()) +
                           " and 100000000 are allowed");
  }
  const auto header_size = static_cast<std::size_t>(header_bytes);
  CHORALE_ASSIGN_OR_RETURN(ClaimedHeader header,
                           ParseHeader(AsText(rest.first(header_size)), type));
  const ByteSpan data = rest.subspan(header_size);
  SafetensorsOf<Number> content;
  CHORALE_ASSIGN_OR_RETURN(content.layout,
                           LayoutFromClaims(std::move(header.tensors), data.size(), type));
  if constexpr (std::is_same_v<Number, double>) {
    CHORALE_ASSIGN_OR_RETURN(content.values, DoublesFromBytes(data));
  } else {
    CHORALE_ASSIGN_OR_RETURN(content.values, ParametersFromBytes(data));
  }
  content.metadata = std::move(header.metadata);
  return content;
}

template <typename Number>
StatusOr<SafetensorsOf<Number>> LoadAs(const std::filesystem::path& path, std::uint64_t max_bytes,
                                       NumberType type) {
  CHORALE_ASSIGN_OR_RETURN(const std::string file, storage::ReadFile(path, max_bytes));
  StatusOr<SafetensorsOf<Number>> content = ParseAs<Number>(AsBytes(file), type);
  if (!content.ok()) return Annotate(content.status(), path.string());
  return content;
}

}  // namespace

StatusOr<SafetensorsContent> ParseSafetensors(ByteSpan file) {
  return ParseAs<float>(file, NumberType::kFloat32);
}
StatusOr<ExactSafetensorsContent> ParseExactSafetensors(ByteSpan file) {
  return ParseAs<double>(file, NumberType::kFloat64);
}

StatusOr<SafetensorsContent> LoadSafetensors(const std::filesystem::path& path,
                                             std::uint64_t max_bytes) {
  return LoadAs<float>(path, max_bytes, NumberType::kFloat32);
}
StatusOr<ExactSafetensorsContent> LoadExactSafetensors(const std::filesystem::path& path,
                                                       std::uint64_t max_bytes) {
  return LoadAs<double>(path, max_bytes, NumberType::kFloat64);
}

}  // namespace chorale::models
