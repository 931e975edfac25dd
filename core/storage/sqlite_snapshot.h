#pragma once

#include <filesystem>
#include <functional>

#include "core/crypto/digest.h"
#include "core/status.h"
#include "core/storage/sqlite.h"

// Whole databases, whatever is in them and whoever has them open. Errors as in sqlite.h.
namespace chorale::storage {

// Copies a database as it is at one moment, also while this or another process writes to it. The
// copy is one file of mode 0600, checked from end to end. `at_that_moment`, if given, is told the
// database as it is copied while nobody can commit to it: it must be quick. NOT_FOUND: there is no
// `from`. ALREADY_EXISTS: there is a `to`. DATA_LOSS: `from` is damaged.
[[nodiscard]] Status SnapshotDatabase(
    const std::filesystem::path& from, const std::filesystem::path& to,
    const std::function<Status(Database& database)>& at_that_moment = {});

// SHA-256 over what a database holds: its schema and every row, in order of the primary keys. Two
// databases of equal content have one digest, however their pages lie. As of one moment, also while
// another process writes. NOT_FOUND.
[[nodiscard]] StatusOr<crypto::Digest> DigestDatabase(const std::filesystem::path& path);

}  // namespace chorale::storage
