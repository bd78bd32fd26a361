// The front end: tessera reid | bench | models | devices.

#include "apps/bench/bench.h"
#include "apps/common/cli.h"
#include "apps/devices/devices.h"
#include "apps/reid/commands.h"

int main(int argc, char** argv) {
  CLI::App app{"Tessera: train and deploy vision networks"};
  app.name("tessera");
  app.set_version_flag("--version", TESSERA_VERSION);
  app.require_subcommand(1);
  tessera::apps::add_reid_commands(*app.add_subcommand("reid", "Person re-identification"));
  tessera::apps::add_bench_command(app);
  tessera::apps::add_models_command(app);
  tessera::apps::add_devices_command(app);
  return tessera::apps::run_cli(app, {argv + 1, argv + argc});
}
