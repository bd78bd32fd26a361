#include "data/pedestrian_scene.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tessera::data::pedestrian {
namespace {

/// Scenes are composed on a stage 128 units high; everything goes through this scale.
class Stage {
 public:
  Stage(Image& image, double pan)
      : canvas_(image),
        unit_(static_cast<double>(image.height) / 128),
        pan_(pan),
        width_(static_cast<double>(image.width) / unit_) {}

  double width() const { return width_; }
  Point at(double x, double y) const { return {(x + pan_) * unit_, y * unit_}; }
  void box(double x, double y, double w, double h, const Color& color) {
    const Point p = at(x, y);
    canvas_.fill_rectangle({p.x, p.y, w * unit_, h * unit_}, color);
  }
  void disc(double x, double y, double rx, double ry, const Color& color) {
    canvas_.fill_ellipse(at(x, y), rx * unit_, ry * unit_, color);
  }
  void line(double x0, double y0, double x1, double y1, const Color& color, double thickness) {
    canvas_.line(at(x0, y0), at(x1, y1), color, thickness * unit_);
  }
  void quad(Point a, Point b, Point c, Point d, const Color& color) {
    const Point points[] = {at(a.x, a.y), at(b.x, b.y), at(c.x, c.y), at(d.x, d.y)};
    canvas_.fill_polygon(points, color);
  }
  /// A vertical gradient over the whole width.
  void gradient(double y0, double y1, const Color& top, const Color& bottom) {
    canvas_.fill(
        Path::rectangle({0, y0 * unit_, width_ * unit_, (y1 - y0) * unit_}),
        Paint([&](double, double y) { return mix(top, bottom, (y / unit_ - y0) / (y1 - y0)); }));
  }

 private:
  Canvas canvas_;
  double unit_, pan_, width_;
};

/// A brick house front with windows, a shop and a slabbed pavement.
void street(Stage& stage, Generator& random) {
  stage.gradient(0, 78, {178, 120, 96}, {150, 96, 78});
  for (int row = 0; row < 20; ++row) {
    stage.box(-40, row * 4.0, 160, 0.7, {196, 158, 136, 0.55});
  }
  const double shift = random.uniform(-6, 6);
  for (int i = -2; i < 4; ++i) {
    const double x = i * 34 + shift;
    stage.box(x, 6, 18, 28, {232, 224, 208});
    stage.box(x + 2, 8, 14, 24, {84, 104, 122});
    stage.box(x + 2, 19, 14, 1.4, {232, 224, 208});
    stage.box(x + 2, 8, 14, 8, {150, 176, 196, 0.6});
  }
  stage.box(-40, 50, 160, 28, {70, 78, 82});
  for (int i = -2; i < 4; ++i) {
    stage.box(i * 30 + shift * 0.5, 54, 24, 20, {226, 200, 142});
    stage.box(i * 30 + shift * 0.5, 54, 24, 6, {246, 232, 196});
  }
  stage.gradient(78, 128, {172, 168, 160}, {206, 202, 192});
  stage.box(-40, 78, 160, 2, {120, 116, 110});
  for (int i = -6; i < 8; ++i) {
    stage.line(32 + i * 12, 80, 32 + i * 30, 130, {140, 136, 128, 0.8}, 0.8);
  }
  for (const double y : {86.0, 95.0, 108.0, 124.0}) {
    stage.line(-40, y, 120, y, {140, 136, 128, 0.8}, 0.8);
  }
}

/// Trees, a lawn and a sandy path.
void park(Stage& stage, Generator& random) {
  stage.gradient(0, 70, {198, 222, 232}, {150, 186, 150});
  for (int i = -1; i < 4; ++i) {
    const double x = i * 26 + random.uniform(-6, 6);
    stage.box(x - 2, 40, 4, 34, {92, 70, 50});
    for (int leaf = 0; leaf < 9; ++leaf) {
      const double shade = random.uniform(0.7, 1.25);
      stage.disc(x + random.uniform(-14, 14), random.uniform(2, 46), random.uniform(6, 11),
                 random.uniform(5, 9), scaled({78, 124, 58}, shade).with_alpha(0.9));
    }
  }
  stage.gradient(68, 128, {116, 152, 74}, {92, 136, 60});
  for (int i = 0; i < 26; ++i) {
    stage.disc(random.uniform(-30, 95), random.uniform(66, 76), 5, 3,
               scaled({70, 112, 52}, random.uniform(0.8, 1.2)));
  }
  stage.quad({24, 74}, {38, 74}, {74, 130}, {-8, 130}, {206, 186, 146});
  for (int i = 0; i < 40; ++i) {
    stage.disc(random.uniform(-30, 95), random.uniform(80, 127), 1.2, 0.7, {70, 108, 48, 0.6});
  }
}

/// A station hall: glass front, pillars, ceiling lights, polished tiles.
void hall(Stage& stage, Generator& random) {
  stage.gradient(0, 76, {206, 214, 222}, {176, 190, 204});
  for (int i = -4; i < 9; ++i) stage.box(i * 11, 16, 9.4, 56, {142, 172, 198});
  for (int i = -4; i < 9; ++i) stage.box(i * 11, 16, 9.4, 18, {188, 212, 230});
  for (int i = -1; i < 4; ++i) {
    const double x = i * 40 + random.uniform(-4, 4);
    stage.disc(x + 16, 5, 11, 2.2, {255, 255, 250});
    stage.box(x, 0, 7, 80, {120, 128, 140});
    stage.box(x + 1, 0, 2, 80, {168, 176, 186});
  }
  const double sign = random.uniform(0, 40);
  stage.box(sign, 22, 22, 8, {28, 62, 122});
  stage.box(sign + 3, 25, 12, 2, {240, 240, 240});
  stage.gradient(76, 128, {198, 204, 210}, {224, 226, 228});
  for (int i = -6; i < 8; ++i) {
    stage.line(32 + i * 14, 76, 32 + i * 40, 132, {168, 176, 186, 0.9}, 0.7);
    stage.quad({i * 22.0, 76.0}, {i * 22.0 + 6, 76.0}, {i * 22.0 + 8, 110.0}, {i * 22.0 - 2, 110.0},
               {255, 255, 255, 0.16});
  }
  for (const double y : {82.0, 91.0, 105.0, 124.0}) {
    stage.line(-40, y, 120, y, {168, 176, 186, 0.9}, 0.7);
  }
}

/// A road at dusk with out-of-focus lamps and a zebra crossing.
void crossing(Stage& stage, Generator& random) {
  stage.gradient(0, 70, {58, 60, 92}, {126, 96, 96});
  for (int i = -3; i < 8; ++i) {
    const double top = 14 + 20 * random.uniform();
    stage.box(i * 14, top, 13, 70 - top, scaled({50, 48, 66}, random.uniform(0.8, 1.2)));
    for (double y = top + 4; y < 60; y += 7) {
      if (random.bernoulli(0.55)) stage.box(i * 14 + 3, y, 3, 3.4, {246, 206, 120, 0.85});
      if (random.bernoulli(0.45)) stage.box(i * 14 + 8, y, 3, 3.4, {246, 220, 150, 0.7});
    }
  }
  constexpr Color kLamps[] = {{255, 196, 96, 0.75}, {255, 240, 210, 0.75}, {240, 70, 60, 0.7}};
  for (int i = 0; i < 8; ++i) {
    const double r = random.uniform(2.5, 5);
    stage.disc(random.uniform(-12, 76), random.uniform(46, 70), r, r, kLamps[i % 3]);
  }
  stage.gradient(70, 128, {84, 82, 90}, {104, 102, 106});
  for (int i = -4; i < 6; ++i) {
    stage.quad({32 + i * 15.0, 84}, {39 + i * 15.0, 84}, {46 + i * 27.0, 124}, {33 + i * 27.0, 124},
               {216, 212, 204});
  }
}

/// Air between the person and the background: brings every pixel closer to the mean colour.
void veil(Image& image, double share) {
  double sums[3] = {};
  for (size_t i = 0; i < image.pixels.size(); ++i) sums[i % 3] += image.pixels[i];
  for (double& sum : sums) sum /= static_cast<double>(image.pixels.size() / 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = static_cast<uint8_t>(image.pixels[i] * (1 - share) + sums[i % 3] * share);
  }
}

uint8_t to_byte(double v) { return static_cast<uint8_t>(std::clamp(v + 0.5, 0.0, 255.0)); }

/// Mixes in a share of the 3 x 3 binomial blur.
Image soften(const Image& image, double share) {
  if (share <= 0) return image;
  Image result = image;
  constexpr int kWeights[] = {1, 2, 1};
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) {
      int sums[3] = {};
      for (int dy = -1; dy <= 1; ++dy) {
        for (int dx = -1; dx <= 1; ++dx) {
          const uint8_t* p = image.at(std::clamp<int64_t>(y + dy, 0, image.height - 1),
                                      std::clamp<int64_t>(x + dx, 0, image.width - 1));
          const int weight = kWeights[dy + 1] * kWeights[dx + 1];
          for (int c = 0; c < 3; ++c) sums[c] += weight * p[c];
        }
      }
      for (int c = 0; c < 3; ++c) {
        const double old = image.at(y, x)[c];
        result.at(y, x)[c] = to_byte(old + (sums[c] / 16.0 - old) * share);
      }
    }
  }
  return result;
}

}  // namespace

CameraProfile camera_profile(int index) {
  constexpr double kDegree = std::numbers::pi / 180;
  CameraProfile c;
  c.scene = index % 4;
  switch (c.scene) {
    case 0:  // afternoon sun, people come towards the camera
      c.yaw = 20 * kDegree, c.pitch = 0.14, c.light = 0.8;
      c.gain = {1.08, 1.0, 0.88}, c.gamma = 0.95, c.noise = 3;
      break;
    case 1:  // green shade, people walk away
      c.yaw = 160 * kDegree, c.pitch = 0.18, c.light = -0.5;
      c.gain = {0.88, 0.97, 0.84}, c.gamma = 1.08, c.saturation = 0.9, c.noise = 4;
      break;
    case 2:  // cold lamps behind glass, people cross to the right
      c.yaw = 75 * kDegree, c.pitch = 0.08, c.light = 0.2;
      c.gain = {0.92, 0.99, 1.1}, c.gamma = 0.95, c.saturation = 0.85, c.haze = 0.05, c.noise = 4;
      break;
    default:  // sodium light at dusk, people cross to the left
      c.yaw = -60 * kDegree, c.pitch = 0.12, c.light = -0.8;
      c.gain = {1.05, 0.9, 0.76}, c.gamma = 1.06, c.noise = 4, c.blur = 0.3;
      break;
  }
  for (int round = index / 4; round > 0; --round) {
    std::rotate(c.gain.begin(), c.gain.begin() + 1, c.gain.end());
    c.yaw += 100 * kDegree;
    c.light = -c.light;
  }
  return c;
}

Image draw_scene(const CameraProfile& camera, int64_t height, int64_t width, double pan,
                 Generator detail) {
  Image image(height, width, 3, 128);
  Stage stage(image,
              pan + (static_cast<double>(width) * 128 / static_cast<double>(height) - 64) / 2);
  switch (camera.scene) {
    case 0:
      street(stage, detail);
      break;
    case 1:
      park(stage, detail);
      break;
    case 2:
      hall(stage, detail);
      break;
    default:
      crossing(stage, detail);
      break;
  }
  veil(image, 0.5);
  return image;
}

Image photograph(const Image& image, const CameraProfile& camera, double exposure,
                 Generator noise) {
  Image result = soften(image, camera.blur);
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) {
      uint8_t* p = result.at(y, x);
      const double grey = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
      for (size_t c = 0; c < 3; ++c) {
        double v = (grey + (p[c] - grey) * camera.saturation) / 255;
        v = std::pow(std::max(v, 0.0), camera.gamma) * camera.gain[c] * exposure;
        v = v * (1 - camera.haze) + 0.85 * camera.haze;
        p[c] = to_byte(v * 255 + camera.noise * noise.normal());
      }
    }
  }
  return result;
}

}  // namespace tessera::data::pedestrian
