#pragma once

#include <string>

#include "data/csv_reader.h"
#include "data/dataset.h"

namespace chorale::support {

// A table for jobs like PrivateJob() (valid_job.h): `rows` have age, pain, pressure, disease,
// patient and split.
[[nodiscard]] inline data::Dataset PatientTable(const v1::DataSpec& spec, const std::string& rows) {
  v1::DatasetConfig config;
  config.set_id("toy");
  config.set_split_column("split");
  config.set_patient_column("patient");
  config.mutable_csv()->set_path("toy.csv");
  const data::CsvTable table =
      data::ParseCsv("age,pain,pressure,disease,patient,split\n" + rows, config.csv(), "toy.csv")
          .value();
  return data::Dataset::Create(table, config, ".", spec).value();
}

}  // namespace chorale::support
