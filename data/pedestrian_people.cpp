#include <algorithm>
#include <array>

#include "data/pedestrian_figure.h"

namespace tessera::data::pedestrian {
namespace {

constexpr std::array<Color, 8> kTops{{{196, 44, 48},
                                      {36, 66, 140},
                                      {232, 232, 226},
                                      {38, 38, 42},
                                      {226, 172, 44},
                                      {58, 124, 84},
                                      {126, 126, 134},
                                      {150, 92, 160}}};
/// Second colours, chosen to stand out from the top of the same index.
constexpr std::array<std::array<Color, 3>, 8> kAccents{{
    {{{245, 238, 228}, {32, 34, 48}, {238, 186, 70}}},
    {{{240, 240, 240}, {220, 76, 60}, {130, 196, 230}}},
    {{{44, 62, 124}, {200, 50, 54}, {52, 54, 60}}},
    {{{236, 236, 236}, {220, 60, 60}, {236, 180, 56}}},
    {{{52, 52, 60}, {250, 246, 232}, {150, 62, 40}}},
    {{{240, 238, 214}, {28, 44, 40}, {232, 180, 66}}},
    {{{244, 244, 244}, {190, 50, 56}, {40, 42, 56}}},
    {{{246, 236, 244}, {60, 36, 84}, {240, 200, 90}}},
}};
constexpr std::array<Color, 7> kLowers{{{52, 78, 128},
                                        {34, 34, 38},
                                        {188, 166, 124},
                                        {104, 104, 110},
                                        {222, 220, 214},
                                        {110, 68, 48},
                                        {72, 88, 58}}};
constexpr std::array<Color, 5> kSkins{
    {{246, 212, 186}, {232, 188, 150}, {200, 148, 108}, {146, 98, 66}, {98, 64, 46}}};
constexpr std::array<Color, 6> kHairs{
    {{28, 24, 24}, {70, 44, 28}, {126, 78, 40}, {214, 176, 104}, {150, 150, 152}, {150, 62, 30}}};
constexpr std::array<Color, 5> kShoes{
    {{34, 32, 34}, {236, 236, 234}, {118, 72, 44}, {188, 46, 46}, {60, 84, 150}}};
constexpr std::array<Color, 6> kBags{
    {{44, 44, 48}, {150, 86, 44}, {200, 60, 50}, {52, 96, 170}, {238, 196, 70}, {84, 132, 88}}};

template <size_t N>
int pick(Generator& random, const std::array<Color, N>&) {
  return static_cast<int>(random.randint(N));
}

template <class Enum>
Enum pick_enum(Generator& random) {
  return static_cast<Enum>(random.randint(static_cast<int64_t>(Enum::kCount)));
}

/// Draws what persons are told apart by.
Person draw_lots(Generator& random) {
  Person p;
  p.top_index = pick(random, kTops);
  p.bottom_index = pick(random, kLowers);
  p.pattern = pick_enum<Pattern>(random);
  // Trousers twice as often as any other lower garment.
  p.bottom = random.bernoulli(0.25) ? Bottom::kTrousers : pick_enum<Bottom>(random);
  p.hair = pick_enum<Hair>(random);
  p.bag = pick_enum<Bag>(random);
  return p;
}

/// Adds the rest: colours, sleeves and build.
void draw_looks(Person& p, Generator& random) {
  p.top = kTops[static_cast<size_t>(p.top_index)];
  const auto& accents = kAccents[static_cast<size_t>(p.top_index)];
  p.accent = accents[static_cast<size_t>(pick(random, accents))];
  p.lower = kLowers[static_cast<size_t>(p.bottom_index)];
  p.shoes = kShoes[static_cast<size_t>(pick(random, kShoes))];
  p.skin = kSkins[static_cast<size_t>(pick(random, kSkins))];
  p.hair_color = kHairs[static_cast<size_t>(pick(random, kHairs))];
  p.bag_color = kBags[static_cast<size_t>(pick(random, kBags))];
  p.short_sleeves = p.bottom != Bottom::kCoat && p.hair != Hair::kHood && random.bernoulli(0.4);
  p.height = random.uniform(0.87, 1.0);
  p.breadth = random.uniform(0.9, 1.22);
}

bool distinct(const Person& a, const Person& b) {
  const int garments = (a.top_index != b.top_index) + (a.bottom_index != b.bottom_index) +
                       (a.pattern != b.pattern) + (a.bottom != b.bottom);
  return garments >= 2 && garments + (a.hair != b.hair) + (a.bag != b.bag) >= 3;
}

}  // namespace

std::vector<Person> make_people(int count, uint64_t seed) {
  constexpr int kAttempts = 400;
  std::vector<Person> people;
  for (int i = 0; i < count; ++i) {
    Generator random = Generator(seed, 1).fork(static_cast<uint64_t>(i));
    Person candidate = draw_lots(random);
    for (int attempt = 1; attempt < kAttempts; ++attempt) {
      if (std::all_of(people.begin(), people.end(),
                      [&](const Person& other) { return distinct(candidate, other); })) {
        break;
      }
      candidate = draw_lots(random);
    }
    draw_looks(candidate, random);
    people.push_back(candidate);
  }
  return people;
}

}  // namespace tessera::data::pedestrian
