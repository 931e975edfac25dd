#include "core/crypto/x509_fields.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <optional>
#include <string_view>
#include <utility>

#include "core/bytes.h"
#include "core/utf8.h"

namespace chorale::crypto {
namespace {

using GeneralNames = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;
using GeneralName = std::unique_ptr<GENERAL_NAME, FreeWith<GENERAL_NAME_free>>;
using Asn1Time = std::unique_ptr<ASN1_TIME, FreeWith<ASN1_TIME_free>>;

constexpr std::size_t kMostUriBytes = 512;
constexpr std::size_t kMostDnsBytes = 253;
constexpr std::size_t kMostDnsLabelBytes = 63;
constexpr std::size_t kMostCommonNameBytes = 64;

bool IsVisibleAscii(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// Names reach terminals and logs, where a control character could rewrite what stands there.
bool IsSafeToShow(std::string_view text) {
  while (!text.empty()) {
    const CodePoint c = DecodeUtf8(text);
    if (!c.is_valid || IsUnsafeToShow(c.value)) return false;
    text.remove_prefix(c.size_bytes);
  }
  return true;
}

StatusOr<Time> ReadTime(const ASN1_TIME* asn1, std::string_view field) {
  std::tm parts{};
  if (asn1 == nullptr || ASN1_TIME_to_tm(asn1, &parts) != 1) {
    return InvalidArgument("certificate: " + std::string(field) + " is not a time");
  }
  const std::chrono::year_month_day date{
      std::chrono::year(parts.tm_year + 1900),
      std::chrono::month(static_cast<unsigned>(parts.tm_mon + 1)),
      std::chrono::day(static_cast<unsigned>(parts.tm_mday))};
  if (!date.ok()) return InvalidArgument("certificate: " + std::string(field) + " is not a time");
  return Time(std::chrono::sys_days(date)) + std::chrono::hours(parts.tm_hour) +
         std::chrono::minutes(parts.tm_min) + std::chrono::seconds(parts.tm_sec);
}

StatusOr<std::string> ReadCommonName(const X509* certificate) {
  const X509_NAME* const subject = X509_get_subject_name(certificate);
  const X509_NAME_ENTRY* const entry =
      X509_NAME_entry_count(subject) == 1 ? X509_NAME_get_entry(subject, 0) : nullptr;
  if (entry == nullptr || OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)) != NID_commonName) {
    return InvalidArgument("certificate: the subject must be one common name");
  }
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
  if (size < 0) return InvalidArgument("certificate: the common name is not text");
  std::string name(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  if (name.empty() || !IsSafeToShow(name)) {
    return InvalidArgument("certificate: the common name is empty or has control characters");
  }
  return name;
}

StatusOr<std::string> ReadAscii(const ASN1_IA5STRING* text) {
  const std::string_view view(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                              static_cast<std::size_t>(ASN1_STRING_length(text)));
  if (!IsVisibleAscii(view)) {
    return InvalidArgument("certificate: a subject alternative name is not visible ASCII");
  }
  return std::string(view);
}

StatusOr<std::string> ReadIpAddress(const ASN1_OCTET_STRING* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int size = ASN1_STRING_length(address);
  if ((size != 4 && size != 16) ||
      inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text.data(),
                text.size()) == nullptr) {
    return InvalidArgument("certificate: an IP address has 4 or 16 bytes, got " +
                           std::to_string(size));
  }
  return std::string(text.data());
}

Status ReadAlternativeNames(const X509* certificate, CertificateFields& fields) {
  int criticality = 0;
  const GeneralNames names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, &criticality, nullptr)));
  if (names == nullptr) {
    if (criticality == -1) return OkStatus();  // There is none.
    return InvalidArgument("certificate: the subject alternative name is malformed or repeated");
  }
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) {
      CHORALE_ASSIGN_OR_RETURN(fields.uris.emplace_back(),
                               ReadAscii(name->d.uniformResourceIdentifier));
    } else if (name->type == GEN_DNS) {
      CHORALE_ASSIGN_OR_RETURN(fields.dns_names.emplace_back(), ReadAscii(name->d.dNSName));
    } else if (name->type == GEN_IPADD) {
      CHORALE_ASSIGN_OR_RETURN(fields.ip_addresses.emplace_back(),
                               ReadIpAddress(name->d.iPAddress));
    } else {
      return InvalidArgument(
          "certificate: subject alternative names other than URI, DNS and IP are refused");
    }
  }
  return OkStatus();
}

Status ValidateDnsName(std::string_view name) {
  const auto refuse = [name](std::string_view rule) {
    return InvalidArgument("certificate: dns name '" + std::string(name) +
                           "': " + std::string(rule));
  };
  if (name.empty() || name.size() > kMostDnsBytes) return refuse("must have 1 to 253 characters");
  std::string_view rest = name;
  std::string_view label;
  while (true) {
    const std::size_t dot = rest.find('.');
    label = rest.substr(0, dot);
    const bool is_valid = !label.empty() && label.size() <= kMostDnsLabelBytes &&
                          label.front() != '-' && label.back() != '-' &&
                          std::all_of(label.begin(), label.end(), [](char c) {
                            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                   (c >= '0' && c <= '9') || c == '-';
                          });
    if (!is_valid)
      return refuse("labels have 1 to 63 characters of [A-Za-z0-9-], no '-' at either end");
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  if (std::all_of(label.begin(), label.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return refuse("an address belongs among the IP addresses");
  }
  return OkStatus();
}

std::optional<Bytes> ParseIpAddress(const std::string& text) {
  Bytes address(16);
  if (inet_pton(AF_INET6, text.c_str(), address.data()) == 1) return address;
  address.resize(4);
  if (inet_pton(AF_INET, text.c_str(), address.data()) == 1) return address;
  return std::nullopt;
}

void SetString(ASN1_STRING* target, ByteSpan bytes) {
  CheckOk(ASN1_STRING_set(target, bytes.data(), static_cast<int>(bytes.size())),
          "memory for a certificate");
}

void Push(GENERAL_NAMES* names, int type, ByteSpan value) {
  GeneralName name(OrDie(GENERAL_NAME_new(), "memory for a certificate"));
  ASN1_STRING* const text =
      OrDie(type == GEN_IPADD ? static_cast<ASN1_STRING*>(ASN1_OCTET_STRING_new())
                              : static_cast<ASN1_STRING*>(ASN1_IA5STRING_new()),
            "memory for a certificate");
  SetString(text, value);
  GENERAL_NAME_set0_value(name.get(), type, text);
  if (sk_GENERAL_NAME_push(names, name.get()) <= 0) DieOfOpenSsl("memory for a certificate");
  (void)name.release();
}

void WriteTime(Time time, int (*set)(X509*, const ASN1_TIME*), X509* certificate) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  const Asn1Time asn1(
      OrDie(ASN1_TIME_set(nullptr, static_cast<std::time_t>(seconds)), "a time of a certificate"));
  CheckOk(set(certificate, asn1.get()), "a time of a certificate");
}

}  // namespace

StatusOr<CertificateFields> ReadFields(const X509* certificate) {
  CertificateFields fields;
  CHORALE_ASSIGN_OR_RETURN(fields.common_name, ReadCommonName(certificate));
  CHORALE_RETURN_IF_ERROR(ReadAlternativeNames(certificate, fields));
  CHORALE_ASSIGN_OR_RETURN(fields.not_before,
                           ReadTime(X509_get0_notBefore(certificate), "not_before"));
  CHORALE_ASSIGN_OR_RETURN(fields.not_after,
                           ReadTime(X509_get0_notAfter(certificate), "not_after"));
  return fields;
}

StatusOr<std::string> ReadSerial(const X509* certificate) {
  static constexpr int kMostSerialBytes = 20;  // RFC 5280, section 4.1.2.2.
  const ASN1_INTEGER* const serial = X509_get0_serialNumber(certificate);
  const int size = ASN1_STRING_length(serial);
  const unsigned char* const data = ASN1_STRING_get0_data(serial);
  if (ASN1_STRING_type(serial) != V_ASN1_INTEGER || size < 1 || size > kMostSerialBytes ||
      (size == 1 && data[0] == 0)) {
    return InvalidArgument("certificate: the serial must be positive and have at most 20 bytes");
  }
  return ToHex({data, static_cast<std::size_t>(size)});
}

Status ValidateFields(const CertificateFields& fields) {
  static constexpr Time kFirst{};
  static constexpr Time kLast =
      Time(std::chrono::sys_days(std::chrono::year(9999) / 12 / 31)) + std::chrono::hours(24);
  if (fields.common_name.empty() || fields.common_name.size() > kMostCommonNameBytes ||
      !IsSafeToShow(fields.common_name)) {
    return InvalidArgument(
        "certificate: the common name must have 1 to 64 bytes of UTF-8 without control characters, "
        "got " +
        std::to_string(fields.common_name.size()) + " bytes");
  }
  for (const std::string& uri : fields.uris) {
    if (!IsVisibleAscii(uri) || uri.size() > kMostUriBytes) {
      return InvalidArgument("certificate: a URI must be visible ASCII of at most 512 bytes");
    }
  }
  for (const std::string& name : fields.dns_names) CHORALE_RETURN_IF_ERROR(ValidateDnsName(name));
  for (const std::string& address : fields.ip_addresses) {
    if (!ParseIpAddress(address)) {
      return InvalidArgument("certificate: '" + address + "' is no IPv4 or IPv6 address");
    }
  }
  if (fields.not_before < kFirst || fields.not_after >= kLast) {
    return InvalidArgument("certificate: the validity must lie between the years 1970 and 9999");
  }
  if (fields.not_before >= fields.not_after) {
    return InvalidArgument("certificate: not_before (" + FormatTime(fields.not_before) +
                           ") must lie before not_after (" + FormatTime(fields.not_after) + ")");
  }
  return OkStatus();
}

void WriteFields(const CertificateFields& fields, X509* certificate) {
  X509_NAME* const subject = X509_get_subject_name(certificate);
  const ByteSpan common_name = AsBytes(fields.common_name);
  CheckOk(X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, common_name.data(),
                                     static_cast<int>(common_name.size()), -1, 0),
          "the subject of a certificate");
  WriteTime(fields.not_before, X509_set1_notBefore, certificate);
  WriteTime(fields.not_after, X509_set1_notAfter, certificate);
  const GeneralNames names(OrDie(GENERAL_NAMES_new(), "memory for a certificate"));
  for (const std::string& uri : fields.uris) Push(names.get(), GEN_URI, AsBytes(uri));
  for (const std::string& name : fields.dns_names) Push(names.get(), GEN_DNS, AsBytes(name));
  for (const std::string& address : fields.ip_addresses) {
    Push(names.get(), GEN_IPADD, *ParseIpAddress(address));
  }
  if (sk_GENERAL_NAME_num(names.get()) == 0) return;
  CheckOk(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT),
          "the names of a certificate");
}

}  // namespace chorale::crypto
