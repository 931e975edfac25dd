// Runs a fuzz target without libFuzzer: every file of a folder, then seeded mutations of them.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "core/random.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" __attribute__((weak)) int LLVMFuzzerInitialize(int* argc, char*** argv);

namespace {

using Input = std::vector<std::uint8_t>;

constexpr std::size_t kMaxInputBytes = 1 << 16;
constexpr int kNumMutations = 20'000;
// Slow machines and sanitizers run fewer mutations; every file of the folder is always run.
constexpr std::chrono::milliseconds kMutationTime(1500);

void Run(const Input& input) {
  // A copy of the exact size, so that AddressSanitizer sees a read past the end.
  const Input exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

std::vector<Input> LoadFolder(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_regular_file()) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Input> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

std::size_t Position(const Input& input, chorale::RandomSource& random) {
  return input.empty() ? 0 : static_cast<std::size_t>(random.NextBelow(input.size()));
}

void MutateOnce(Input& input, const std::vector<Input>& corpus, chorale::RandomSource& random) {
  const auto at = [&input](std::size_t position) {
    return input.begin() + static_cast<std::ptrdiff_t>(position);
  };
  const std::size_t from = Position(input, random);
  switch (random.NextBelow(7)) {
    case 0:  // Flip a bit.
      if (!input.empty()) input[from] ^= static_cast<std::uint8_t>(1u << random.NextBelow(8));
      return;
    case 1:  // Overwrite a byte.
      if (!input.empty()) input[from] = static_cast<std::uint8_t>(random.NextBelow(256));
      return;
    case 2:  // Truncate.
      input.resize(from);
      return;
    case 3: {  // Remove a run.
      const std::size_t count =
          std::min<std::size_t>(random.NextBelow(16) + 1, input.size() - from);
      input.erase(at(from), at(from + count));
      return;
    }
    case 4:  // Insert a byte, often one that formats give a meaning.
      input.insert(at(from), random.NextBelow(2) == 0
                                 ? static_cast<std::uint8_t>(random.NextBelow(256))
                                 : static_cast<std::uint8_t>(
                                       "\0\xff\"'{}[]:,-\n\t &*!;"[random.NextBelow(19)]));
      return;
    case 5: {  // Repeat a run.
      const std::size_t count =
          std::min<std::size_t>(random.NextBelow(64) + 1, input.size() - from);
      const Input run(at(from), at(from + count));
      input.insert(at(from), run.begin(), run.end());
      return;
    }
    default: {  // Splice with another file.
      const Input& other = corpus[random.NextBelow(corpus.size())];
      const std::size_t start = Position(other, random);
      input.resize(from);
      input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(start), other.end());
      return;
    }
  }
}

int RunAll(const std::filesystem::path& folder) {
  std::vector<Input> corpus = LoadFolder(folder);
  if (corpus.empty()) {
    std::fprintf(stderr, "%s holds no file to start from\n", folder.c_str());
    return 1;
  }
  for (const Input& input : corpus) Run(input);
  Run({});

  chorale::SeededRandom random(1);
  const auto start = std::chrono::steady_clock::now();
  int num_mutations = 0;
  while (num_mutations < kNumMutations &&
         std::chrono::steady_clock::now() - start < kMutationTime) {
    Input input = corpus[random.NextBelow(corpus.size())];
    for (std::uint64_t left = random.NextBelow(6) + 1; left > 0; --left) {
      MutateOnce(input, corpus, random);
    }
    if (input.size() > kMaxInputBytes) input.resize(kMaxInputBytes);
    Run(input);
    ++num_mutations;
  }
  std::printf("%zu files, %d mutations\n", corpus.size(), num_mutations);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (LLVMFuzzerInitialize != nullptr) LLVMFuzzerInitialize(&argc, &argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  try {
    return RunAll(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
