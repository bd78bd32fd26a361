#include "io/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "io/read_file.h"
#include "tensor/error.h"

namespace tessera::io {
namespace {

namespace fs = std::filesystem;

class AtomicFileTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / cat("tessera_io_", info->name(), "_", ::getpid());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string text(const fs::path& path) {
    const std::vector<uint8_t> bytes = read_file(path);
    return {bytes.begin(), bytes.end()};
  }
  size_t entries() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  template <class Call>
  static std::string message(Call&& call) {
    try {
      call();
    } catch (const IoError& error) {
      return error.what();
    }
    return "no IoError";
  }

  fs::path folder_;
};

TEST_F(AtomicFileTest, AppearsOnlyOnCommit) {
  const fs::path path = folder_ / "weights.bin";
  AtomicFile file(path);
  const std::string big(200000, 'x');
  file.write("head ");
  file.write(big);
  file.write(" tail");
  EXPECT_EQ(file.size(), big.size() + 10);
  EXPECT_FALSE(fs::exists(path));
  file.commit();
  EXPECT_EQ(text(path), "head " + big + " tail");
  EXPECT_EQ(entries(), 1u);
  EXPECT_NE(message([&] { file.write("more"); }).find("after commit"), std::string::npos);
  EXPECT_NE(message([&] { file.commit(); }).find("twice"), std::string::npos);
}

TEST_F(AtomicFileTest, WithoutCommitTheOldFileStays) {
  const fs::path path = folder_ / "a.txt";
  write_file_atomic(path, "old");
  {
    AtomicFile file(path);
    file.write("half of the new");
  }
  EXPECT_EQ(text(path), "old");
  EXPECT_EQ(entries(), 1u);
  write_file_atomic(path, "new");
  EXPECT_EQ(text(path), "new");
}

TEST_F(AtomicFileTest, KeepsPermissionsAndFollowsLinks) {
  const fs::path real = folder_ / "real.txt", link = folder_ / "link.txt";
  write_file_atomic(real, "1");
  fs::permissions(real, fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("real.txt", link);
  write_file_atomic(link, "2");
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(text(real), "2");
  EXPECT_EQ(fs::status(real).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(AtomicFileTest, ErrorsNameThePathAndTheReason) {
  const fs::path missing = folder_ / "none" / "a.txt";
  const std::string why = message([&] { write_file_atomic(missing, "x"); });
  EXPECT_NE(why.find(missing.string()), std::string::npos) << why;
  EXPECT_NE(why.find("No such file"), std::string::npos) << why;
  EXPECT_NE(message([&] { write_file_atomic(folder_, "x"); }).find("not a regular file"),
            std::string::npos);
  EXPECT_NE(message([&] { write_file_atomic("/dev/null", "x"); }).find("not a regular file"),
            std::string::npos);
  EXPECT_NE(message([&] { write_file_atomic("", "x"); }).find("expected a file name"),
            std::string::npos);
}

/// A limit on the size of files stands in for a full disk: write() fails in the same place.
TEST_F(AtomicFileTest, AFailedWriteLosesNothing) {
  const fs::path path = folder_ / "a.txt";
  write_file_atomic(path, "old");
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {100000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string why = message([&] { write_file_atomic(path, std::string(300000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(why.find(path.string()), std::string::npos) << why;
  EXPECT_NE(why.find("File too large"), std::string::npos) << why;
  EXPECT_EQ(text(path), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(AtomicFileTest, NothingIsCommittedAfterAFailedWrite) {
  const fs::path path = folder_ / "a.txt";
  write_file_atomic(path, "old");
  AtomicFile file(path);
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {100000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string why = message([&] { file.write(std::string(300000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(why.find("File too large"), std::string::npos) << why;
  EXPECT_NE(message([&] { file.write("more"); }).find("failed write"), std::string::npos);
  EXPECT_NE(message([&] { file.commit(); }).find("failed write"), std::string::npos);
  EXPECT_EQ(text(path), "old");
}

/// A killed process leaves its temporary file, and in a container the next one has its number.
TEST_F(AtomicFileTest, TemporaryFilesOfOthersAreNoObstacle) {
  const fs::path path = folder_ / "a.txt";
  std::string taken;
  {
    const AtomicFile file(path);
    taken = fs::directory_iterator(folder_)->path().filename().string();
  }
  const size_t end = taken.rfind('.'), dot = taken.rfind('.', end - 1);
  const int number = std::stoi(taken.substr(dot + 1));
  for (int i = 1; i <= 20; ++i) {
    const std::string next = taken.substr(0, dot + 1) + std::to_string(number + i) + ".tmp";
    std::ofstream(folder_ / next) << "left";
  }
  write_file_atomic(path, "new");
  EXPECT_EQ(text(path), "new");
  EXPECT_EQ(entries(), 21u);
}

TEST_F(AtomicFileTest, NamesOfFullLength) {
  const fs::path path = folder_ / std::string(255, 'n');
  write_file_atomic(path, "x");
  EXPECT_EQ(text(path), "x");
}

TEST_F(AtomicFileTest, ReadFileIsLimited) {
  const fs::path path = folder_ / "a.txt";
  write_file_atomic(path, "12345");
  EXPECT_EQ(read_file(path, 5).size(), 5u);
  EXPECT_NE(message([&] { read_file(path, 4); }).find("limit of 4"), std::string::npos);
  EXPECT_NE(message([&] { read_file(folder_); }).find("not a regular file"), std::string::npos);
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_NE(message([&] { read_file(folder_ / "pipe"); }).find("not a regular file"),
            std::string::npos);
}

}  // namespace
}  // namespace tessera::io
