#include "data/pedestrian_figure.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace tessera::data::pedestrian {
namespace {

// Body coordinates: u to the person's left, f forward, v down from the crown (0) to the ground (1),
// all in body heights.
constexpr double kShoulder = 0.185, kHip = 0.50, kKnee = 0.735, kAnkle = 0.955;

/// Draws one person; parts are collected with their depth and painted from far to near.
class Figure {
 public:
  Figure(Canvas& canvas, const Person& person, const Pose& pose)
      : canvas_(canvas),
        person_(person),
        pose_(pose),
        scale_(pose.height * person.height),
        cos_(std::cos(pose.yaw)),
        sin_(std::sin(pose.yaw)) {
    // Bent legs are shorter: lower the body until one shoe stands on the ground.
    drop_ = 0.985 - std::max(stance(-1).foot_v, stance(1).foot_v);
  }

  void draw() {
    shadow();
    for (const int side : {-1, 1}) {
      leg(side);
      arm(side);
    }
    torso();
    head();
    bag();
    std::stable_sort(parts_.begin(), parts_.end(),
                     [](const Part& a, const Part& b) { return a.depth < b.depth; });
    for (const Part& part : parts_) part.draw();
  }

 private:
  struct Part {
    double depth;
    std::function<void()> draw;
  };

  double depth(double u, double f) const { return f * cos_ - u * sin_; }
  Point at(double u, double f, double v) const {
    return {pose_.feet.x + scale_ * (u * cos_ + f * sin_),
            pose_.feet.y - scale_ * (1 - v - drop_) + scale_ * pose_.pitch * depth(u, f)};
  }
  double px(double body) const { return scale_ * body; }
  /// Half width on screen of a cross-section `across` wide and `deep` deep.
  double half_width(double across, double deep) const {
    return px(std::hypot(across * cos_, deep * sin_));
  }
  void add(double depth, std::function<void()> draw) { parts_.push_back({depth, std::move(draw)}); }

  /// Colour of cloth on a round body: t = -1 .. 1 across it.
  Color shade(const Color& color, double t) const {
    t = std::clamp(t, -1.0, 1.0);
    return scaled(color, 0.72 + 0.30 * std::sqrt(1 - 0.85 * t * t) + 0.10 * t * pose_.light);
  }

  /// A limb piece with shading across its axis.
  void limb(Point a, double radius_a, Point b, double radius_b, const Color& color) {
    const double length = std::max(std::hypot(b.x - a.x, b.y - a.y), 1e-6);
    const Point normal{-(b.y - a.y) / length, (b.x - a.x) / length};
    const double radius = std::max(radius_a, radius_b);
    // The normal of a limb hanging down points left: flip it so that t grows to the right.
    const double sign = normal.x >= 0 ? 1 : -1;
    canvas_.fill(Path::capsule(a, radius_a, b, radius_b), Paint([&](double x, double y) {
                   const double t = ((x - a.x) * normal.x + (y - a.y) * normal.y) / radius;
                   return shade(color, sign * t);
                 }));
  }

  void shadow() {
    for (int i = 3; i >= 1; --i) {
      canvas_.fill_ellipse({pose_.feet.x - px(0.03) * pose_.light, pose_.feet.y},
                           px(0.07 + 0.035 * i), px(0.012 + 0.008 * i),
                           colors::kBlack.with_alpha(0.16));
    }
  }

  /// Where a leg's knee and ankle are, forward and down.
  struct Stance {
    double knee_f = 0, knee_v = 0, foot_f = 0, foot_v = 0;
  };
  Stance stance(int side) const;
  void leg(int side);
  void arm(int side);
  void torso();
  void head();
  void hair_front(Point center, double facing);
  void bag();
  Color cloth(double t, double v) const;
  bool striped_sleeves() const { return person_.pattern == Pattern::kContrastSleeves; }

  Canvas& canvas_;
  const Person& person_;
  const Pose& pose_;
  double scale_, cos_, sin_, drop_ = 0;
  std::vector<Part> parts_;
};

Figure::Stance Figure::stance(int side) const {
  const double swing = pose_.stride * std::sin(pose_.phase) * side;
  const double bend = std::max(0.0, -swing) * 0.9 + 0.06;
  const double thigh = kKnee - kHip, shin = kAnkle - kKnee;
  Stance s;
  s.knee_f = thigh * std::sin(swing), s.knee_v = kHip + thigh * std::cos(swing);
  s.foot_f = s.knee_f + shin * std::sin(swing - bend);
  s.foot_v = s.knee_v + shin * std::cos(swing - bend);
  return s;
}

void Figure::leg(int side) {
  const auto [knee_f, knee_v, foot_f, foot_v] = stance(side);
  const double u = side * 0.052 * person_.breadth;
  const double b = person_.breadth;
  const Point hip = at(u, 0, kHip), knee = at(u, knee_f, knee_v), ankle = at(u, foot_f, foot_v);
  const Point toe = at(u * 1.15, foot_f + 0.062, foot_v + 0.022);
  const Point heel = at(u, foot_f - 0.012, foot_v + 0.018);
  // Legs keep behind skirts and coats, and before the far arm of a side view.
  add(0.3 * depth(u, knee_f * 0.5) - 0.05, [=, this] {
    const bool covered = person_.bottom == Bottom::kTrousers || person_.bottom == Bottom::kCoat;
    const Color lower = scaled(person_.lower, side * sin_ > 0 ? 0.86 : 1.0);
    limb(heel, px(0.021), toe, px(0.016), person_.shoes);
    const Color shin_color = covered ? lower : person_.skin;
    limb(knee, px(0.042 * b), ankle, px((covered ? 0.033 : 0.024) * b), shin_color);
    const bool bare_thigh = person_.bottom == Bottom::kSkirt;
    limb(hip, px(0.058 * b), knee, px(0.044 * b), bare_thigh ? person_.skin : lower);
    if (person_.bottom == Bottom::kShorts) {
      const Point hem{hip.x + (knee.x - hip.x) * 0.8, hip.y + (knee.y - hip.y) * 0.8};
      limb(hip, px(0.06 * b), hem, px(0.056 * b), lower);
    }
  });
}

void Figure::arm(int side) {
  const double swing = -0.75 * pose_.stride * std::sin(pose_.phase) * side;
  const double b = person_.breadth;
  const double u = side * 0.112 * b, out = side * 0.018;
  const double upper = 0.15, fore = 0.145;
  const double elbow_f = upper * std::sin(swing),
               elbow_v = kShoulder + 0.02 + upper * std::cos(swing);
  const double lift = swing + 0.30;
  const double hand_f = elbow_f + fore * std::sin(lift), hand_v = elbow_v + fore * std::cos(lift);
  const Point shoulder = at(u, 0, kShoulder + 0.022), elbow = at(u + out, elbow_f, elbow_v);
  const Point hand = at(u + out, hand_f, hand_v);
  // Seen from the side the far arm lies behind the torso and the near one before it.
  add(depth(u, elbow_f) * 1.2, [=, this] {
    const Color sleeve =
        scaled(striped_sleeves() ? person_.accent : person_.top, depth(u, 0) < -0.03 ? 0.82 : 0.97);
    const Point knuckles{hand.x + (hand.x - elbow.x) * 0.12, hand.y + (hand.y - elbow.y) * 0.12};
    limb(hand, px(0.019), knuckles, px(0.016), person_.skin);
    limb(elbow, px(0.027 * b), hand, px(0.021 * b), person_.short_sleeves ? person_.skin : sleeve);
    limb(shoulder, px(0.038 * b), elbow, px(0.030 * b), sleeve);
  });
}

/// Colour of the top at t = -1 .. 1 across the visible half and height v.
Color Figure::cloth(double t, double v) const {
  // Angle round the body, so that patterns compress towards the outline as on real cloth.
  const double around = std::asin(std::clamp(t, -0.999, 0.999)) * person_.breadth + pose_.yaw * 0.6;
  const double down = (v - kShoulder) / (kHip - kShoulder);
  const auto odd = [](double x) { return std::lround(std::floor(x)) % 2 != 0; };
  bool second = false;
  switch (person_.pattern) {
    case Pattern::kStripes:
      second = odd(down * 7);
      break;
    case Pattern::kPinstripes:
      second = std::abs(std::remainder(around, 0.62)) < 0.13;
      break;
    case Pattern::kChecks:
      second = odd(down * 5.5) != odd(around * 2.4);
      break;
    case Pattern::kDots: {
      const double row = std::floor(down * 6);
      const double x = std::remainder(around * 1.25 + (odd(row) ? 0.25 : 0.0), 0.5) / 1.25;
      const double y = (down * 6 - row - 0.5) / 6 * 1.9;
      second = std::hypot(x, y) < 0.125;
      break;
    }
    case Pattern::kChestBand:
      second = down > 0.28 && down < 0.56;
      break;
    case Pattern::kColorBlock:
      second = down > 0.5;
      break;
    default:
      break;
  }
  return second ? person_.accent : person_.top;
}

void Figure::torso() {
  const double b = person_.breadth;
  const bool coat = person_.bottom == Bottom::kCoat;
  const double hem = coat ? 0.68 : 0.525;
  const double shoulders = half_width(0.118 * b, 0.072 * b),
               waist = half_width(0.094 * b, 0.070 * b);
  const double bottom = half_width((coat ? 0.122 : 0.098) * b, (coat ? 0.10 : 0.074) * b);
  const Point top = at(0, 0, kShoulder), middle = at(0, 0, 0.40), low = at(0, 0, hem);
  const double slope = px(0.022);
  Path outline;
  outline.move_to({top.x - shoulders * 0.42, top.y - slope});
  outline.line_to({top.x + shoulders * 0.42, top.y - slope});
  outline.quad_to({top.x + shoulders, top.y - slope * 0.3}, {top.x + shoulders, top.y + slope * 2});
  outline.quad_to({middle.x + waist, middle.y - px(0.05)}, {middle.x + waist, middle.y});
  outline.line_to({low.x + bottom, low.y}).line_to({low.x - bottom, low.y});
  outline.line_to({middle.x - waist, middle.y});
  outline.quad_to({middle.x - waist, middle.y - px(0.05)}, {top.x - shoulders, top.y + slope * 2});
  outline.quad_to({top.x - shoulders, top.y - slope * 0.3},
                  {top.x - shoulders * 0.42, top.y - slope});
  add(0.01, [=, this] {
    if (person_.bottom == Bottom::kSkirt) {
      const double wide = half_width(0.135 * b, 0.12 * b),
                   narrow = half_width(0.088 * b, 0.068 * b);
      const Point waistline = at(0, 0, 0.49), edge = at(0, 0, 0.70);
      const Point corners[] = {{waistline.x - narrow, waistline.y},
                               {waistline.x + narrow, waistline.y},
                               {edge.x + wide, edge.y},
                               {edge.x, edge.y + px(0.012)},
                               {edge.x - wide, edge.y}};
      canvas_.fill(Path::polygon(corners), Paint([&](double x, double) {
                     const double t = (x - edge.x) / wide;
                     return scaled(shade(person_.lower, t), 1 + 0.06 * std::sin(t * 14));
                   }));
    } else {
      limb(at(-0.035 * b, 0, kHip), px(0.062 * b), at(0.035 * b, 0, kHip), px(0.062 * b),
           person_.lower);
    }
    canvas_.fill(outline, Paint([&](double x, double y) {
                   const double v = 1 - drop_ - (pose_.feet.y - y) / scale_;
                   const double half =
                       v < 0.40 ? shoulders + (waist - shoulders) * (v - kShoulder) / 0.215
                                : waist + (bottom - waist) * (v - 0.40) / (hem - 0.40);
                   const double t = (x - top.x) / half;
                   return shade(cloth(t, v), t);
                 }));
    if (coat && cos_ > 0.2) {
      canvas_.line(at(0.01, 0.07, 0.22), at(0.01, 0.07, hem), scaled(person_.top, 0.55), px(0.007));
    }
  });
}

void Figure::head() {
  add(0.03, [this] {
    const Point neck_top = at(0, 0.008, 0.115), neck_low = at(0, 0, 0.19);
    const Point center = at(0, 0.014, 0.076);
    const double rx = px(0.049), ry = px(0.065);
    const Color skin = person_.skin;
    const double facing = cos_;  // 1 towards the camera, -1 away
    if (person_.hair == Hair::kLong) {
      const Point low = at(0, -0.03, 0.20);
      canvas_.fill(
          Path::capsule({center.x - sin_ * rx * 0.35, center.y}, rx * 1.12, low, rx * 0.95),
          person_.hair_color);
    }
    limb(neck_top, px(0.026), neck_low, px(0.032), scaled(skin, 0.85));
    if (person_.hair == Hair::kHood) {
      canvas_.fill_ellipse({center.x - sin_ * rx * 0.25, center.y + ry * 0.1}, rx * 1.3, ry * 1.2,
                           scaled(person_.top, 0.9));
    }
    canvas_.fill(Path::ellipse(center, rx, ry),
                 Paint([&](double x, double) { return shade(skin, (x - center.x) / rx * 0.9); }));
    if (facing > 0.15) {
      for (const double side : {-1.0, 1.0}) {
        const Point eye = at(side * 0.019, 0.044, 0.074);
        canvas_.fill_circle(eye, px(0.0062), colors::kBlack.with_alpha(0.75 * facing));
      }
    }
    hair_front(center, facing);
    if (person_.hair == Hair::kLong && facing < 0) {
      const Point low = at(0, -0.04, 0.205);
      canvas_.fill(Path::capsule(center, rx * 1.08, low, rx * 0.9),
                   scaled(person_.hair_color, 1.05));
    }
  });
}

/// Hair or headgear over the skull: a cap whose lower edge is high in front and low at the back.
void Figure::hair_front(Point center, double facing) {
  const double rx = px(0.049), ry = px(0.065);
  const bool cap = person_.hair == Hair::kCap, hood = person_.hair == Hair::kHood;
  const Color color = cap ? person_.bag_color : hood ? person_.top : person_.hair_color;
  // Two points of the hairline: on the side the person faces it is high.
  const double brow = center.y - ry * 0.42, nape = center.y + ry * (cap ? 0.1 : hood ? 1.2 : 0.55);
  const double left = sin_ > 0 ? brow + (nape - brow) * sin_ : brow;
  const double right = sin_ > 0 ? brow : brow + (nape - brow) * -sin_;
  const double lowered = facing < 0 ? (nape - brow) * -facing : 0;
  const double grow = hood ? 1.28 : 1.1;
  Path skull =
      Path::ellipse({center.x, center.y - ry * 0.04}, rx * grow, ry * (hood ? 1.16 : 1.06));
  canvas_.fill(skull, Paint([&](double x, double y) {
                 const double t = (x - center.x) / (2 * rx) + 0.5;
                 const double line = left + (right - left) * t + lowered;
                 const double inside = std::clamp((line - y) / px(0.006) + 0.5, 0.0, 1.0);
                 return shade(color, (x - center.x) / rx * 0.9).with_alpha(inside);
               }));
  if (person_.hair == Hair::kBun) {
    const Point bun = at(0, -0.045, 0.025);
    canvas_.fill_circle({bun.x, std::min(bun.y, center.y - ry * 0.75)}, px(0.03),
                        scaled(person_.hair_color, 0.92));
  }
  if (cap && facing > -0.5) {
    const Point brim_a = at(-0.02, 0.03, 0.055), brim_b = at(0.02, 0.085, 0.058);
    canvas_.fill(Path::capsule(brim_a, px(0.009), brim_b, px(0.009)), scaled(color, 0.7));
    if (facing > 0.5) {
      canvas_.fill_ellipse({center.x, brow + px(0.004)}, rx * 0.95, px(0.012), scaled(color, 0.7));
    }
  }
}

void Figure::bag() {
  const double b = person_.breadth;
  const Color color = person_.bag_color, strap = scaled(person_.bag_color, 0.75);
  if (person_.bag == Bag::kBackpack) {
    add(depth(0, -0.11) * 0.9, [=, this] {
      const Point center = at(0, -0.105, 0.32);
      const double half = half_width(0.088 * b, 0.058);
      const Rect box{center.x - half, center.y - px(0.115), 2 * half, px(0.235)};
      canvas_.fill(Path::rounded_rectangle(box, px(0.04)),
                   Paint([&](double x, double) { return shade(color, (x - center.x) / half); }));
      canvas_.fill(Path::rounded_rectangle(
                       {box.x + half * 0.35, center.y + px(0.02), half * 1.3, px(0.07)}, px(0.015)),
                   scaled(color, 0.72));
    });
    add(depth(0, 0.08), [=, this] {
      if (cos_ < -0.1) return;
      for (const double side : {-0.062, 0.062}) {
        canvas_.line(at(side * b, 0.03, 0.18), at(side * b * 1.15, 0.06, 0.36), strap, px(0.018));
      }
    });
  } else if (person_.bag == Bag::kShoulder) {
    add(0.075, [=, this] {
      const double over = cos_ >= 0 ? 0.06 : -0.06;
      canvas_.line(at(-0.075 * b, over, 0.175), at(0.105 * b, over, 0.50), strap, px(0.017));
    });
    add(depth(0.13 * b, 0) + 0.02, [=, this] {
      const Point center = at(0.125 * b, 0, 0.545);
      const double half = half_width(0.035, 0.085);
      const Rect box{center.x - half, center.y - px(0.06), 2 * half, px(0.12)};
      canvas_.fill(Path::rounded_rectangle(box, px(0.02)),
                   Paint([&](double x, double) { return shade(color, (x - center.x) / half); }));
    });
  } else if (person_.bag == Bag::kHand) {
    add(depth(-0.14 * b, 0.03) + 0.02, [=, this] {
      const Point center = at(-0.14 * b, 0.03, 0.62);
      const double half = half_width(0.05, 0.085);
      const Point grip{center.x, center.y - px(0.115)};
      const Point handle[] = {{center.x - half * 0.6, center.y - px(0.06)},
                              grip,
                              {center.x + half * 0.6, center.y - px(0.06)}};
      canvas_.polyline(handle, strap, px(0.012));
      const Point corners[] = {{center.x - half * 0.85, center.y - px(0.06)},
                               {center.x + half * 0.85, center.y - px(0.06)},
                               {center.x + half, center.y + px(0.065)},
                               {center.x - half, center.y + px(0.065)}};
      canvas_.fill(Path::polygon(corners),
                   Paint([&](double x, double) { return shade(color, (x - center.x) / half); }));
    });
  }
}

}  // namespace

void draw_person(Canvas& canvas, const Person& person, const Pose& pose) {
  Figure(canvas, person, pose).draw();
}

}  // namespace tessera::data::pedestrian
