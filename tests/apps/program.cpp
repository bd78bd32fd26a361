#include "tests/apps/program.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tensor/error.h"

namespace tessera::testing {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// In the child: only calls that are safe between fork and exec.
[[noreturn]] void become(const char* path, char* const* argv, const char* out, const char* err,
                         uint64_t file_limit) {
  const int o = ::open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int e = ::open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ::dup2(o, STDOUT_FILENO);
  ::dup2(e, STDERR_FILENO);
  if (file_limit > 0) {
    std::signal(SIGXFSZ, SIG_IGN);  // write() then fails instead
    const struct rlimit limit { file_limit, file_limit };
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ::execv(path, argv);
  ::_exit(127);
}

}  // namespace

std::vector<std::string> Outcome::errors() const {
  std::vector<std::string> found;
  std::istringstream text(err);
  for (std::string line; std::getline(text, line);)
    if (line.starts_with("error: ")) found.push_back(line);
  return found;
}

Outcome run_program(const std::string& program, const std::vector<std::string>& args,
                    const RunOptions& options) {
  static int count = 0;
  const fs::path base =
      fs::temp_directory_path() / cat("tessera_program_", ::getpid(), "_", count++);
  const bool keep = options.stdout_to.empty();
  const std::string out = keep ? base.string() + ".out" : options.stdout_to;
  const std::string err = base.string() + ".err";
  const std::string path = std::string(TESSERA_BINARY_DIR "/") + program;
  std::vector<std::string> texts{path};
  texts.insert(texts.end(), args.begin(), args.end());
  std::vector<char*> argv;
  for (std::string& t : texts) argv.push_back(t.data());
  argv.push_back(nullptr);
  ::setenv("TESSERA_NUM_THREADS", "1", 1);

  const pid_t pid = ::fork();
  TESSERA_CHECK(Error, pid >= 0, "cannot fork");
  if (pid == 0) become(path.c_str(), argv.data(), out.c_str(), err.c_str(), options.file_limit);
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::duration<double>(options.timeout_seconds);
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (options.meanwhile) options.meanwhile(pid);
    if (std::chrono::steady_clock::now() > deadline) ::kill(pid, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Outcome outcome{.out = keep ? text_of(out) : std::string(), .err = text_of(err)};
  if (WIFEXITED(status)) outcome.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
  if (keep) fs::remove(out);
  fs::remove(err);
  return outcome;
}

}  // namespace tessera::testing
