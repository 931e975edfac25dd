#include "tests/simulation/disk.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace chorale::simulation {
namespace {

constexpr std::uint64_t kSectorBytes = 512;

std::vector<Disk*>& Disks() {
  static std::vector<Disk*> disks;
  return disks;
}

// The one that SQLite came with, for databases elsewhere and for what is no file.
sqlite3_vfs* RealVfs() {
  static sqlite3_vfs* const real = sqlite3_vfs_find(nullptr);
  return real;
}

}  // namespace

// The disk as SQLite's virtual file system: https://www.sqlite.org/c3ref/vfs.html.
class DiskAccess {
 public:
  struct OpenFile {
    sqlite3_file base;
    Disk* disk;
    Disk::File* file;
  };
  static OpenFile& Of(sqlite3_file* file) { return *reinterpret_cast<OpenFile*>(file); }

  // The disk that has this path, and its name there.
  static std::pair<Disk*, std::string> Find(const char* path) {
    if (path == nullptr) return {nullptr, ""};
    const std::string_view text(path);
    for (Disk* disk : Disks()) {
      const std::string& root = disk->directory_.native();
      if (text.size() > root.size() && text.starts_with(root) && text[root.size()] == '/') {
        return {disk, std::string(text.substr(root.size() + 1))};
      }
    }
    return {nullptr, ""};
  }

  // ---- files

  static int Close(sqlite3_file*) { return SQLITE_OK; }

  static int Read(sqlite3_file* file, void* out, int count, sqlite3_int64 offset) {
    const Bytes& content = Of(file).file->content;
    const auto begin = std::min<std::uint64_t>(static_cast<std::uint64_t>(offset), content.size());
    const auto have =
        std::min<std::uint64_t>(static_cast<std::uint64_t>(count), content.size() - begin);
    std::memset(out, 0, static_cast<std::size_t>(count));
    std::memcpy(out, content.data() + begin, have);
    return have == static_cast<std::uint64_t>(count) ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
  }

  static int Write(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 offset) {
    OpenFile& open = Of(file);
    if (open.disk->is_dead_) return SQLITE_IOERR_WRITE;
    const std::optional<DiskFault> fault = open.disk->Meet();
    if (open.disk->is_full_ || fault == DiskFault::kFull) return SQLITE_FULL;
    const auto* begin = static_cast<const std::uint8_t*>(bytes);
    auto size = static_cast<std::uint64_t>(count);
    const bool is_torn = fault == DiskFault::kError || fault == DiskFault::kDeath;
    if (is_torn) size = open.disk->random_.NextBelow(size / kSectorBytes + 1) * kSectorBytes;
    Disk::Change change{.offset = static_cast<std::uint64_t>(offset),
                        .bytes = Bytes(begin, begin + size),
                        .truncated_to = {}};
    Disk::Apply(change, open.file->content);
    open.file->unsynced.push_back(std::move(change));
    return Ended(open, fault, SQLITE_IOERR_WRITE);
  }

  static int Truncate(sqlite3_file* file, sqlite3_int64 size) {
    OpenFile& open = Of(file);
    if (open.disk->is_dead_) return SQLITE_IOERR_TRUNCATE;
    const std::optional<DiskFault> fault = open.disk->Meet();
    if (fault.has_value() && fault != DiskFault::kLateDeath) {
      return Ended(open, fault, SQLITE_IOERR_TRUNCATE);
    }
    Disk::Change change{.bytes = {}, .truncated_to = static_cast<std::uint64_t>(size)};
    Disk::Apply(change, open.file->content);
    open.file->unsynced.push_back(std::move(change));
    return Ended(open, fault, SQLITE_IOERR_TRUNCATE);
  }

  static int Sync(sqlite3_file* file, int) {
    OpenFile& open = Of(file);
    if (open.disk->is_dead_) return SQLITE_IOERR_FSYNC;
    const std::optional<DiskFault> fault = open.disk->Meet();
    if (fault.has_value() && fault != DiskFault::kLateDeath) {
      return Ended(open, fault, SQLITE_IOERR_FSYNC);
    }
    for (const Disk::Change& change : open.file->unsynced) Disk::Apply(change, open.file->synced);
    open.file->unsynced.clear();
    return Ended(open, fault, SQLITE_IOERR_FSYNC);
  }

  static int FileSize(sqlite3_file* file, sqlite3_int64* size) {
    *size = static_cast<sqlite3_int64>(Of(file).file->content.size());
    return SQLITE_OK;
  }

  // One process has the file at a time, so that every lock is free.
  static int Lock(sqlite3_file*, int) { return SQLITE_OK; }
  static int CheckReservedLock(sqlite3_file*, int* is_reserved) {
    *is_reserved = 0;
    return SQLITE_OK;
  }
  static int FileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int SectorSize(sqlite3_file*) { return static_cast<int>(kSectorBytes); }
  static int DeviceCharacteristics(sqlite3_file*) { return 0; }

  static int ShmMap(sqlite3_file* file, int region, int size, int extend, void volatile** out) {
    auto& regions = Of(file).file->shared_memory;
    while (extend != 0 && regions.size() <= static_cast<std::size_t>(region)) {
      regions.push_back(std::make_unique<std::uint8_t[]>(static_cast<std::size_t>(size)));
    }
    *out = static_cast<std::size_t>(region) < regions.size()
               ? regions[static_cast<std::size_t>(region)].get()
               : nullptr;
    return SQLITE_OK;
  }
  static int ShmLock(sqlite3_file*, int, int, int) { return SQLITE_OK; }
  static void ShmBarrier(sqlite3_file*) {}
  static int ShmUnmap(sqlite3_file* file, int) {
    Of(file).file->shared_memory.clear();
    return SQLITE_OK;
  }

  // ---- the file system

  static int Open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out_flags) {
    const auto [disk, name] = Find(path);
    if (disk == nullptr) return RealVfs()->xOpen(RealVfs(), path, file, flags, out_flags);
    OpenFile& open = Of(file);
    open.base.pMethods = nullptr;
    if (disk->is_dead_) return SQLITE_CANTOPEN;
    static const sqlite3_io_methods kMethods = {2,
                                                Close,
                                                Read,
                                                Write,
                                                Truncate,
                                                Sync,
                                                FileSize,
                                                Lock,
                                                Lock,
                                                CheckReservedLock,
                                                FileControl,
                                                SectorSize,
                                                DeviceCharacteristics,
                                                ShmMap,
                                                ShmLock,
                                                ShmBarrier,
                                                ShmUnmap,
                                                nullptr,
                                                nullptr};
    open.base.pMethods = &kMethods;
    open.disk = disk;
    open.file = &disk->files_[name];
    if (out_flags != nullptr) *out_flags = flags;
    return SQLITE_OK;
  }

  static int Delete(sqlite3_vfs*, const char* path, int sync_directory) {
    const auto [disk, name] = Find(path);
    if (disk == nullptr) return RealVfs()->xDelete(RealVfs(), path, sync_directory);
    if (disk->is_dead_) return SQLITE_IOERR_DELETE;
    if (disk->Meet().has_value()) {
      if (disk->is_dead_) return SQLITE_IOERR_DELETE;
    }
    return disk->files_.erase(name) > 0 ? SQLITE_OK : SQLITE_IOERR_DELETE_NOENT;
  }

  static int Access(sqlite3_vfs*, const char* path, int flags, int* result) {
    const auto [disk, name] = Find(path);
    if (disk == nullptr) return RealVfs()->xAccess(RealVfs(), path, flags, result);
    const auto file = disk->files_.find(name);
    *result = file != disk->files_.end() && !file->second.content.empty() ? 1 : 0;
    return SQLITE_OK;
  }

  static int FullPathname(sqlite3_vfs*, const char* path, int size, char* out) {
    const auto [disk, name] = Find(path);
    if (disk == nullptr) return RealVfs()->xFullPathname(RealVfs(), path, size, out);
    if (std::strlen(path) + 1 > static_cast<std::size_t>(size)) return SQLITE_CANTOPEN;
    std::strcpy(out, path);
    return SQLITE_OK;
  }

  // Salts of the write-ahead log: a seed gives the same bytes each time.
  static int Randomness(sqlite3_vfs*, int count, char* out) {
    std::memset(out, 0x5a, static_cast<std::size_t>(count));
    return count;
  }
  static int LastError(sqlite3_vfs*, int, char*) { return 0; }

  static void Install() {
    static sqlite3_vfs vfs = [] {
      sqlite3_vfs made = *RealVfs();
      made.szOsFile = std::max(made.szOsFile, static_cast<int>(sizeof(OpenFile)));
      made.zName = "simulated";
      made.pNext = nullptr;
      made.xOpen = Open;
      made.xDelete = Delete;
      made.xAccess = Access;
      made.xFullPathname = FullPathname;
      made.xRandomness = Randomness;
      made.xGetLastError = LastError;
      return made;
    }();
    static const int result = sqlite3_vfs_register(&vfs, /*makeDflt=*/1);
    (void)result;
  }

 private:
  // What an operation that met a fault answers.
  static int Ended(OpenFile& open, std::optional<DiskFault> fault, int error) {
    if (!fault.has_value()) return SQLITE_OK;
    if (fault == DiskFault::kDeath || fault == DiskFault::kLateDeath) open.disk->is_dead_ = true;
    return fault == DiskFault::kFull ? SQLITE_FULL : error;
  }
};

Disk::Disk(std::filesystem::path directory, RandomSource& random)
    : directory_(std::move(directory)), random_(random) {
  DiskAccess::Install();
  Disks().push_back(this);
}

Disk::~Disk() { std::erase(Disks(), this); }

void Disk::Apply(const Change& change, Bytes& content) {
  if (change.truncated_to.has_value()) {
    content.resize(std::min<std::uint64_t>(*change.truncated_to, content.size()));
    return;
  }
  if (change.bytes.empty()) return;
  const std::uint64_t end = change.offset + change.bytes.size();
  if (content.size() < end) content.resize(end);
  std::copy(change.bytes.begin(), change.bytes.end(),
            content.begin() + static_cast<std::ptrdiff_t>(change.offset));
}

std::optional<DiskFault> Disk::Meet() {
  ++num_operations_;
  if (!armed_.has_value() || --armed_->countdown > 0) return std::nullopt;
  const DiskFault fault = armed_->fault;
  armed_.reset();
  return fault;
}

void Disk::Revive(bool power_was_cut) {
  is_dead_ = false;
  for (auto& [name, file] : files_) {
    file.shared_memory.clear();
    if (!power_was_cut) continue;
    for (Change& change : file.unsynced) {
      const std::uint64_t fate = random_.NextBelow(3);
      if (fate == 0) continue;
      if (fate == 1 && !change.bytes.empty()) {
        change.bytes.resize(random_.NextBelow(change.bytes.size() / kSectorBytes + 1) *
                            kSectorBytes);
      }
      Apply(change, file.synced);
    }
    file.unsynced.clear();
    file.content = file.synced;
  }
}

std::unique_ptr<Disk> Disk::AfterPowerCut(std::filesystem::path directory,
                                          std::string_view prefix) const {
  auto copy = std::make_unique<Disk>(std::move(directory), random_);
  for (const auto& [name, file] : files_) {
    if (!name.starts_with(prefix)) continue;
    File& copied = copy->files_[name];
    copied.content = file.synced;
    copied.synced = file.synced;
  }
  return copy;
}

}  // namespace chorale::simulation
