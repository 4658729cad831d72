#include <fmt/format.h>

#include "train/embedded_recipes.h"

namespace mono {
namespace {

struct ChannelRecipes {
  std::vector<std::string> texts;  // name and source in turn
  std::vector<EmbeddedRecipe> list;

  ChannelRecipes() {
    for (const auto& [prefix, channels] : {std::pair{"", 6}, std::pair{"smoke/", 3}})
      for (const std::string& subset : channel_subsets(channels)) {
        std::string array;
        for (const char digit : subset)
          array += fmt::format("{}{}", array.empty() ? "" : ", ", digit);
        texts.push_back(fmt::format("{}rxrx1/fig9/{}", prefix, subset));
        texts.push_back(fmt::format(
            "# Figures 8 and 9, the baseline on channels {} alone.\n"
            "extends = \"{}rxrx1/table1/baseline\"\nseeds = 1\n\n[data]\nchannels = [{}]\n",
            array, prefix, array));
      }
    for (size_t i = 0; i < texts.size(); i += 2) list.push_back({texts[i], texts[i + 1]});
  }
};

}  // namespace

std::span<const EmbeddedRecipe> channel_recipes() {
  static const ChannelRecipes recipes;
  return recipes.list;
}

std::vector<std::string> channel_subsets(int channels) {
  std::vector<std::string> subsets;
  for (unsigned bits = 1; bits < 1u << channels; ++bits) {
    std::string digits;
    for (int c = 0; c < channels; ++c)
      if (bits >> c & 1) digits += static_cast<char>('1' + c);
    subsets.push_back(std::move(digits));
  }
  return subsets;
}

}  // namespace mono
