// `tessera reid` under the name of the program it stands for: options alone mean training.

#include "apps/common/cli.h"
#include "apps/reid/commands.h"

int main(int argc, char** argv) {
  CLI::App app{"Train and evaluate person re-identification networks"};
  app.name("train_reid");
  app.set_version_flag("--version", TESSERA_VERSION);
  app.footer("Options alone mean train: train_reid --data DIR");
  tessera::apps::add_reid_commands(app);
  std::vector<std::string> args{argv + 1, argv + argc};
  const bool global =
      !args.empty() && (args[0] == "--help" || args[0] == "-h" || args[0] == "--version");
  if (!args.empty() && args[0].starts_with("-") && !global) args.insert(args.begin(), "train");
  return tessera::apps::run_cli(app, std::move(args));
}
