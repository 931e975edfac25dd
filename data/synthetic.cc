#include "data/synthetic.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>

#include "core/random.h"

namespace chorale::data {
namespace {

constexpr double kMaxShift = 3;

// Approximately normal: twelve uniforms (Irwin-Hall). Additions only, so that every platform gives
// the same bits.
double NextDeviate(RandomSource& random) {
  double sum = 0;
  for (int i = 0; i < 12; ++i) sum += random.NextDouble();
  return sum - 6;
}

bool NextBool(RandomSource& random, double chance) { return random.NextDouble() < chance; }

std::size_t NextIndex(RandomSource& random, std::span<const double> chances) {
  double rest = random.NextDouble();
  for (std::size_t i = 0; i + 1 < chances.size(); ++i) {
    if (rest < chances[i]) return i;
    rest -= chances[i];
  }
  return chances.size() - 1;
}

int Rounded(double value, int least, int most) {
  return std::clamp(static_cast<int>(std::lround(value)), least, most);
}

struct Patient {
  int age = 0;  // years
  bool is_male = false;
  int chest_pain = 0;   // 1 typical, 2 atypical, 3 non-anginal, 4 asymptomatic
  int pressure = 0;     // mmHg, at rest
  int cholesterol = 0;  // mg/dl
  bool has_high_sugar = false;
  int ecg = 0;                // 0 normal, 1 ST-T abnormality, 2 hypertrophy
  int pulse = 0;              // beats a minute, most reached
  bool has_angina = false;    // By exercise.
  int depression_tenths = 0;  // ST depression by exercise, tenths of a millimetre
};

Patient NextPatient(RandomSource& random, double shift) {
  constexpr std::array<double, 4> kPain = {0.08, 0.20, 0.27, 0.45};
  constexpr std::array<double, 3> kEcg = {0.60, 0.20, 0.20};
  Patient patient;
  patient.age = Rounded(54 + 4 * shift + 9 * NextDeviate(random), 28, 79);
  patient.is_male = NextBool(random, 0.7);
  patient.chest_pain = static_cast<int>(NextIndex(random, kPain)) + 1;
  patient.pressure =
      Rounded(131 + 5 * shift + 0.4 * (patient.age - 54) + 17 * NextDeviate(random), 92, 200);
  patient.cholesterol = Rounded(236 + 15 * shift + 46 * NextDeviate(random), 115, 560);
  patient.has_high_sugar = NextBool(random, 0.15);
  patient.ecg = static_cast<int>(NextIndex(random, kEcg));
  patient.pulse = Rounded(144 - 0.8 * (patient.age - 54) + 22 * NextDeviate(random), 70, 202);
  patient.has_angina = NextBool(random, 0.36);
  patient.depression_tenths = Rounded(std::max(0.0, 7 + 12 * NextDeviate(random)), 0, 62);
  return patient;
}

// The ground truth: log-odds of disease.
double LogOdds(const Patient& patient, double shift) {
  constexpr std::array<double, 4> kPain = {-0.6, -1.3, -0.6, 1.9};
  double odds = -1.9 + 0.6 * shift;
  odds += 0.04 * (patient.age - 54) + (patient.is_male ? 1.3 : 0.0);
  odds += kPain[static_cast<std::size_t>(patient.chest_pain - 1)];
  odds += 0.016 * (patient.pressure - 131) + 0.006 * (patient.cholesterol - 236);
  odds += (patient.has_high_sugar ? 0.4 : 0.0) + (patient.ecg > 0 ? 0.3 : 0.0);
  odds += -0.038 * (patient.pulse - 144) + (patient.has_angina ? 1.6 : 0.0);
  odds += 0.12 * (patient.depression_tenths - 8);
  return odds;
}

// 0 without disease, else 1 (mild) to 4, graver with higher odds.
int NextDisease(RandomSource& random, double log_odds) {
  if (!NextBool(random, 1 / (1 + std::exp(-log_odds)))) return 0;
  return Rounded(1.3 + 0.5 * log_odds + 0.7 * NextDeviate(random), 1, 4);
}

// FNV-1a: spreads the name over 64 bits, the same on every platform.
std::uint64_t SeedFor(const std::string& name, std::uint64_t seed) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash ^ seed;
}

void AppendCell(std::string& csv, int value) { csv += std::to_string(value) + ","; }

}  // namespace

std::vector<SyntheticHospital> DefaultSyntheticHospitals() {
  return {{.name = "north", .num_rows = 420, .shift = -0.4},
          {.name = "south", .num_rows = 300, .shift = 0.3},
          {.name = "east", .num_rows = 150, .shift = 1.2},
          {.name = "west", .num_rows = 90, .shift = -1.1}};
}

std::string MakeSyntheticHospital(const SyntheticHospital& hospital, std::uint64_t seed) {
  SeededRandom random(SeedFor(hospital.name, seed));
  const double shift =
      std::isfinite(hospital.shift) ? std::clamp(hospital.shift, -kMaxShift, kMaxShift) : 0;
  std::string csv = "age,sex,cp,trestbps,chol,fbs,restecg,thalach,exang,oldpeak,num,split\n";
  for (std::uint32_t row = 0; row < hospital.num_rows; ++row) {
    const Patient patient = NextPatient(random, shift);
    for (const int value : {patient.age, int{patient.is_male}, patient.chest_pain, patient.pressure,
                            patient.cholesterol, int{patient.has_high_sugar}, patient.ecg,
                            patient.pulse, int{patient.has_angina}}) {
      AppendCell(csv, value);
    }
    csv += std::to_string(patient.depression_tenths / 10) + "." +
           std::to_string(patient.depression_tenths % 10) + ",";
    AppendCell(csv, NextDisease(random, LogOdds(patient, shift)));
    csv += row % 3 == 2 ? "test\n" : "train\n";  // Rows are drawn independently.
  }
  return csv;
}

}  // namespace chorale::data
