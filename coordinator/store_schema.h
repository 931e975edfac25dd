#pragma once

#include <array>

#include "core/storage/sqlite.h"

// The tables of coordinator.db. A change is a further migration, never an edit of one that was
// released.
namespace chorale::coordinator {

inline constexpr std::array kMigrations = {storage::Migration{R"sql(
  CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    researcher TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    envelope BLOB NOT NULL,        -- SignedJob
    submitted_us INTEGER NOT NULL,
    summary BLOB,                  -- JobSummary, once ended
    UNIQUE (researcher, idempotency_key)
  );
  CREATE INDEX unfinished_jobs ON jobs (sequence) WHERE summary IS NULL;
  CREATE TABLE events (
    job TEXT NOT NULL REFERENCES jobs (id),
    sequence INTEGER NOT NULL,     -- From 1, without gaps.
    event BLOB NOT NULL,           -- JobEvent
    PRIMARY KEY (job, sequence)
  ) WITHOUT ROWID;
  CREATE TABLE blobs (
    digest BLOB PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    content BLOB                   -- NULL: a file.
  );
  CREATE TABLE blob_names (
    job TEXT NOT NULL REFERENCES jobs (id),
    name TEXT NOT NULL,
    digest BLOB NOT NULL REFERENCES blobs (digest),
    PRIMARY KEY (job, name)
  ) WITHOUT ROWID;
  CREATE INDEX names_of_blob ON blob_names (digest);
  CREATE TABLE sites (
    id TEXT PRIMARY KEY,
    last_seen_us INTEGER NOT NULL,
    agent_version TEXT NOT NULL,
    datasets TEXT NOT NULL         -- Separated by commas.
  ) WITHOUT ROWID;
  CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
  ) WITHOUT ROWID;
)sql"},
                                           storage::Migration{R"sql(
  ALTER TABLE sites ADD COLUMN lineage TEXT NOT NULL DEFAULT '';
  ALTER TABLE sites ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE sites ADD COLUMN instance TEXT NOT NULL DEFAULT '';
  ALTER TABLE sites ADD COLUMN ledger_seq INTEGER;     -- NULL: none was told.
  ALTER TABLE sites ADD COLUMN ledger_digest BLOB;
  ALTER TABLE sites ADD COLUMN clock_skew_us INTEGER;  -- NULL: not told.
  ALTER TABLE events ADD COLUMN checksum BLOB;         -- NULL: of an earlier version.
  CREATE TABLE starts (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    time_us INTEGER NOT NULL
  );
)sql"}};

}  // namespace chorale::coordinator
