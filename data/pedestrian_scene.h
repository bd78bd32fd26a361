#pragma once

#include <array>

#include "data/draw.h"
#include "tensor/generator.h"

/// Parts of data/pedestrians.h: what a camera contributes to its pictures.
namespace tessera::data::pedestrian {

/// Place, light and optics of one camera.
struct CameraProfile {
  int scene = 0;       // which background
  double yaw = 0;      // direction most people walk relative to the camera, radians
  double pitch = 0.1;  // see Pose
  double light = 0;    // side the light comes from, -1 .. 1
  std::array<double, 3> gain{1, 1, 1};  // exposure and white balance of red, green, blue
  double gamma = 1;                     // > 1 darkens the middle tones
  double saturation = 1;
  double haze = 0;   // share of a light grey veil
  double noise = 4;  // standard deviation of sensor noise, grey levels
  double blur = 0;   // share of a 3 x 3 binomial blur
};

/// The camera `index` >= 0. The first four are composed by hand, later ones reuse their scenes
/// under other lights.
CameraProfile camera_profile(int index);

/// The background, drawn coarsely (it is out of focus): `pan` shifts it sideways, in pixels of a
/// picture 128 high; `detail` varies what stands around.
Image draw_scene(const CameraProfile& camera, int64_t height, int64_t width, double pan,
                 Generator detail);

/// Light, optics and sensor of the camera applied to a finished picture; `exposure` multiplies the
/// gains for this view.
Image photograph(const Image& image, const CameraProfile& camera, double exposure, Generator noise);

}  // namespace tessera::data::pedestrian
