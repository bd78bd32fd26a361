#pragma once

#include <vector>

#include "data/draw.h"
#include "tensor/generator.h"

/// Parts of data/pedestrians.h: what an identity wears and how it is drawn.
namespace tessera::data::pedestrian {

enum class Pattern {
  kPlain,
  kStripes,
  kPinstripes,
  kChecks,
  kDots,
  kChestBand,
  kColorBlock,
  kContrastSleeves,
  kCount
};
enum class Bottom { kTrousers, kShorts, kSkirt, kCoat, kCount };
enum class Hair { kShort, kLong, kBun, kCap, kHood, kCount };
enum class Bag { kNone, kBackpack, kShoulder, kHand, kCount };

/// Everything that makes an identity.
struct Person {
  Pattern pattern = Pattern::kPlain;
  Bottom bottom = Bottom::kTrousers;
  Hair hair = Hair::kShort;
  Bag bag = Bag::kNone;
  int top_index = 0, bottom_index = 0;  // palette entries, to compare persons by
  Color top, accent, lower, shoes, skin, hair_color, bag_color;
  bool short_sleeves = false;
  double height = 1;   // relative to the tallest
  double breadth = 1;  // of shoulders, torso and limbs
};

/// The first `count` identities of a seed. Any two differ in at least two of top colour, pattern,
/// lower garment and its colour, and in at least three when hair style and bag are counted too (as
/// far as a limited search finds such persons; for some hundred identities it does).
std::vector<Person> make_people(int count, uint64_t seed);

/// How a person stands in a view.
struct Pose {
  Point feet;           // where the middle of the feet touches the ground, pixels
  double height = 100;  // pixels of a person with Person::height 1
  double yaw = 0;       // radians; 0 faces the camera, pi / 2 walks to the right
  double phase = 0;     // of the walk, radians
  double stride = 0.5;  // largest swing of a leg, radians
  double pitch = 0.1;   // camera looks down: depth moves points down the picture
  double light = 0;     // -1 light from the left .. 1 from the right
};

void draw_person(Canvas& canvas, const Person& person, const Pose& pose);

}  // namespace tessera::data::pedestrian
