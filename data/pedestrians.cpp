#include "data/pedestrians.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>

#include "data/market1501.h"
#include "data/pedestrian_figure.h"
#include "data/pedestrian_scene.h"

namespace tessera::data {
namespace {

using namespace pedestrian;

constexpr int kSupersampling = 3;  // drawn this much larger, then averaged down
constexpr int kMaxCameras = 9, kMaxIdentities = 9999;

// Streams of one view's random numbers, so that a change in one does not move the others.
enum Stream : uint64_t { kPose, kBackground, kFront, kSensor };

Pose draw_pose(const CameraProfile& camera, int view, double height, double width,
               Generator random) {
  constexpr double kDegree = std::numbers::pi / 180;
  // Most views follow the camera's walking direction; every fourth goes the other way.
  double yaw = camera.yaw + random.uniform(-22, 22) * kDegree;
  if (view % 4 == 3) yaw += std::numbers::pi;
  Pose pose;
  pose.height = height * random.uniform(0.87, 0.96);
  pose.feet = {width * random.uniform(0.43, 0.57), height * random.uniform(0.955, 0.985)};
  pose.yaw = yaw;
  pose.phase = random.uniform(0, 2 * std::numbers::pi);
  pose.stride = random.uniform(0.28, 0.5);
  pose.pitch = camera.pitch;
  pose.light = camera.light;
  return pose;
}

/// Things in front of the person in some views: a post, a hedge, a parked car's bonnet, somebody's
/// shoulder.
void draw_front(Canvas& canvas, int scene, Generator random) {
  if (!random.bernoulli(0.15)) return;
  const double h = static_cast<double>(canvas.height()), w = static_cast<double>(canvas.width());
  const bool left = random.bernoulli(0.5);
  switch (random.randint(3)) {
    case 0: {
      const double thickness = w * random.uniform(0.05, 0.09);
      const double x = w * (left ? random.uniform(0.14, 0.3) : random.uniform(0.7, 0.86));
      canvas.fill(
          Path::rectangle({x - thickness / 2, 0, thickness, h}), Paint([&](double px, double) {
            const double t = std::abs((px - x) / thickness * 2 + 0.3);
            return scaled(scene == 1 ? Color{104, 80, 58} : Color{116, 120, 126}, 1.15 - 0.5 * t);
          }));
      break;
    }
    case 1: {
      const double top = h * random.uniform(0.80, 0.9);
      if (scene == 0 || scene == 3) {
        const Color paint = scene == 0 ? Color{70, 100, 150} : Color{130, 44, 44};
        const double x = left ? -0.4 * w : 0.35 * w;
        canvas.fill(
            Path::rounded_rectangle({x, top, w * 1.1, h * 0.4}, h * 0.07),
            Paint([&](double, double y) { return scaled(paint, 1.35 - (y - top) / h * 4); }));
      } else {
        for (int i = 0; i < 40; ++i) {
          canvas.fill_circle({random.uniform(0, w), top + h * random.uniform(0.0, 0.2)}, h * 0.03,
                             scaled({74, 116, 60}, random.uniform(0.65, 1.2)));
        }
      }
      break;
    }
    default: {
      const double x = left ? -0.06 * w : 1.06 * w, top = h * random.uniform(0.2, 0.3);
      const Color coat = scaled({90, 88, 96}, random.uniform(0.6, 1.5));
      canvas.fill(Path::capsule({x, top + w * 0.2}, w * 0.19, {x, h}, w * 0.25), coat);
      canvas.fill_circle({x, top - w * 0.08}, w * 0.14, {70, 52, 42});
      break;
    }
  }
}

Image render(const Person& person, int camera_index, int view, const PedestrianSetOptions& options,
             const Generator& random) {
  const CameraProfile camera = camera_profile(camera_index);
  Generator pose_numbers = random.fork(kPose);
  const double exposure = pose_numbers.uniform(0.92, 1.08), pan = pose_numbers.uniform(-7, 7);
  const Image scene =
      draw_scene(camera, options.height, options.width, pan, random.fork(kBackground));
  Image image = rescale(scene, int64_t{options.height} * kSupersampling,
                        int64_t{options.width} * kSupersampling);
  Canvas canvas(image);
  draw_person(canvas, person,
              draw_pose(camera, view, static_cast<double>(image.height),
                        static_cast<double>(image.width), pose_numbers));
  draw_front(canvas, camera.scene, random.fork(kFront));
  return photograph(rescale(image, options.height, options.width), camera, exposure,
                    random.fork(kSensor));
}

std::string market_name(int identity, int camera, int view) {
  char name[64];
  std::snprintf(name, sizeof name, "%04d_c%ds1_%06d_00.jpg", identity + 1, camera + 1, view + 1);
  return name;
}

void check_set(const PedestrianSetOptions& o) {
  TESSERA_CHECK(ValueError, o.train_identities > 0 && o.test_identities > 0,
                "pedestrians: identities must be positive, got ", o.train_identities, " and ",
                o.test_identities);
  TESSERA_CHECK(ValueError, o.train_identities <= kMaxIdentities - o.test_identities,
                "pedestrians: at most ", kMaxIdentities, " identities fit the file names");
  TESSERA_CHECK(ValueError, o.cameras > 0 && o.cameras <= kMaxCameras,
                "pedestrians: cameras must be 1 .. ", kMaxCameras, ", got ", o.cameras);
  TESSERA_CHECK(ValueError, o.views >= 2, "pedestrians: at least 2 views are needed, got ",
                o.views);
}

const char* folder_of(PedestrianSplit split) {
  return kMarket1501Folders[static_cast<size_t>(split)];
}

}  // namespace

Image render_pedestrian(int identity, int camera, int view, const PedestrianSetOptions& options) {
  TESSERA_CHECK(ValueError, identity >= 0 && identity < kMaxIdentities && view >= 0,
                "pedestrians: identity ", identity, " or view ", view, " is out of range");
  TESSERA_CHECK(ValueError, camera >= 0 && camera < kMaxCameras,
                "pedestrians: camera must be 0 .. ", kMaxCameras - 1, ", got ", camera);
  for (const int side : {options.height, options.width}) {
    TESSERA_CHECK(ValueError, side >= 16 && side <= 4096,
                  "pedestrians: image sides must be 16 .. 4096, got ", options.height, " x ",
                  options.width);
  }
  const Person person = make_people(identity + 1, options.seed).back();
  const Generator random = Generator(options.seed, 2)
                               .fork(static_cast<uint64_t>(identity))
                               .fork(static_cast<uint64_t>(camera))
                               .fork(static_cast<uint64_t>(view));
  return render(person, camera, view, options, random);
}

std::vector<PedestrianItem> pedestrian_items(const PedestrianSetOptions& options) {
  check_set(options);
  std::vector<PedestrianItem> items;
  const int total = options.train_identities + options.test_identities;
  const auto add = [&](PedestrianSplit split, int first, int last, int first_view, int last_view) {
    for (int identity = first; identity < last; ++identity) {
      for (int camera = 0; camera < options.cameras; ++camera) {
        for (int view = first_view; view < last_view; ++view) {
          items.push_back({split, identity, camera, view, market_name(identity, camera, view)});
        }
      }
    }
  };
  add(PedestrianSplit::kTrain, 0, options.train_identities, 0, options.views);
  add(PedestrianSplit::kQuery, options.train_identities, total, 0, 1);
  add(PedestrianSplit::kGallery, options.train_identities, total, 1, options.views);
  return items;
}

std::filesystem::path pedestrian_path(const std::filesystem::path& folder,
                                      const PedestrianItem& item) {
  return folder / folder_of(item.split) / item.name;
}

void write_market1501(const std::filesystem::path& folder, const PedestrianSetOptions& options,
                      const ImageWriter& write,
                      const std::function<void(int64_t done, int64_t total)>& progress) {
  const std::vector<PedestrianItem> items = pedestrian_items(options);
  for (const auto split :
       {PedestrianSplit::kTrain, PedestrianSplit::kQuery, PedestrianSplit::kGallery}) {
    std::error_code error;
    std::filesystem::create_directories(folder / folder_of(split), error);
    TESSERA_CHECK(IoError, !error, "pedestrians: cannot create ",
                  (folder / folder_of(split)).string(), ": ", error.message());
  }
  for (size_t i = 0; i < items.size(); ++i) {
    const PedestrianItem& item = items[i];
    write(pedestrian_path(folder, item),
          render_pedestrian(item.identity, item.camera, item.view, options));
    if (progress) progress(static_cast<int64_t>(i + 1), static_cast<int64_t>(items.size()));
  }
}

}  // namespace tessera::data
