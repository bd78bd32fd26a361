#include <gtest/gtest.h>

#include <algorithm>

#include "data/eval/reid.h"
#include "data/eval/reid_rerank.h"
#include "data/eval/similarity.h"
#include "tests/data/reid_test_sets.h"
#include "tests/golden/compare.h"

namespace tessera::golden {
namespace {

using data::testing_sets::OwnedSet;
using Arrays = std::map<std::string, Reference>;

template <class T>
std::vector<T> values_as(const Reference& reference) {
  return {reference.values.begin(), reference.values.end()};
}

OwnedSet stored_set(const Arrays& arrays, const std::string& which) {
  const Reference& features = arrays.at(which);
  return {features.shape.at(1), values_as<float>(features),
          values_as<int64_t>(arrays.at(which + "_label")),
          values_as<int64_t>(arrays.at(which + "_cam"))};
}

void expect_metrics(const std::string& title, const data::RetrievalMetrics& got, const Json& want) {
  const std::map<std::string, double> ours{
      {"rank1", got.rank1}, {"rank5", got.rank5}, {"rank10", got.rank10}, {"mAP", got.mAP}};
  for (const auto& [name, value] : want.items()) {
    if (ours.contains(name)) {
      expect_close(title + " " + name, ours.at(name), value.get<double>(), {0, 1e-6});
    } else {
      ADD_FAILURE() << title << " " << name << ": a figure this program does not compute";
    }
  }
}

/// All figures of one set. `similarity` gives the scores of the plain ranking where they are
/// stored.
void check_set(const std::string& title, const OwnedSet& query, const OwnedSet& gallery,
               const Json& entry, const Arrays& arrays) {
  const auto q = query.view(), g = gallery.view();
  const data::KReciprocalOptions options{entry.at("k1"), entry.at("k2"),
                                         entry.at("lambda").get<double>()};
  const auto distances = data::rerank_k_reciprocal(q, g, options);
  expect_close(title + " reranked",
               Reference{{q.rows(), g.rows()}, {distances.begin(), distances.end()}},
               arrays.at("reranked"), {0, 1e-4});
  expect_metrics(title + " plain", data::evaluate(q, g), entry.at("plain"));
  // The reference takes the queries themselves as the further views of a query's identity.
  OwnedSet multi = query;
  multi.features = data::multi_query_features(q, q);
  expect_metrics(title + " multi_query", data::evaluate(multi.view(), g), entry.at("multi_query"));
  expect_metrics(title + " reranked", data::evaluate_k_reciprocal(q, g, options),
                 entry.at("reranked"));
}

void expect_same_set(const std::string& title, const OwnedSet& got, const OwnedSet& want) {
  EXPECT_EQ(got.labels, want.labels) << title;
  EXPECT_EQ(got.cameras, want.cameras) << title;
  const auto as_reference = [](const OwnedSet& set) {
    return Reference{{std::ssize(set.labels), set.dim}, {set.features.begin(), set.features.end()}};
  };
  expect_close(title, as_reference(got), as_reference(want), {0, 2e-7});
}

void check_similarity(const std::string& title, const OwnedSet& query, const OwnedSet& gallery,
                      const Reference& want) {
  Reference got{{std::ssize(query.labels), std::ssize(gallery.labels)}, {}};
  const auto dim = static_cast<size_t>(query.dim);
  for (size_t i = 0; i < query.labels.size(); ++i)
    for (size_t j = 0; j < gallery.labels.size(); ++j)
      got.values.push_back(data::inner_product(query.features.data() + i * dim,
                                               gallery.features.data() + j * dim, query.dim));
  expect_close(title + " similarity", got, want, {0, 1e-5});
}

void run_case(const std::filesystem::path& folder, const std::string& name, const Json& entry) {
  const Arrays arrays = read_arrays(folder / (name + ".npz"));
  const OwnedSet query = stored_set(arrays, "query"), gallery = stored_set(arrays, "gallery");
  check_similarity(name + " stored", query, gallery, arrays.at("similarity"));
  check_set(name + " stored", query, gallery, entry, arrays);

  const data::testing_sets::HashCase hashed{
      entry.at("prefix"), entry.at("ids"),     entry.at("queries"), entry.at("gallery"),
      entry.at("dim"),    entry.at("cameras"), entry.at("spread")};
  const OwnedSet made_query = data::testing_sets::hash_set(hashed, "query");
  const OwnedSet made_gallery = data::testing_sets::hash_set(hashed, "gallery");
  expect_same_set(name + " regenerated query", made_query, query);
  expect_same_set(name + " regenerated gallery", made_gallery, gallery);
  check_set(name + " regenerated", made_query, made_gallery, entry, arrays);
}

void list_cases(const std::filesystem::path& folder) {
  const Json meta = read_json(folder / "meta.json");
  for (const auto& [name, entry] : meta.items())
    add_test("GoldenReid", name,
             [folder, name = name, entry = entry] { run_case(folder, name, entry); });
}

[[maybe_unused]] const bool added = add_suite("GoldenReid", golden_dir() / "reid", list_cases);

}  // namespace
}  // namespace tessera::golden
