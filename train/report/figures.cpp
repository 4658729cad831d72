#include "train/report/figures.h"

#include <fmt/format.h>

#include "kernels/base/error.h"
#include "models/durable_file.h"
#include "train/data/font.h"
#include "train/data/montage.h"

namespace mono::report {

void label(Figure& figure, const std::string& scale) {
  const std::string text = fmt::format("Not the paper's scale: {}.", scale);
  figure.caption = text + " " + figure.caption;
  for (Svg& panel : figure.panels) panel = panel.with_footer(text);
  if (figure.png.empty()) return;
  const PngInfo info = png_header(figure.png, figure.name);
  const int cells = static_cast<int>(text.size()) * kFontWidth;
  const int scale_of_text = 2 * cells < info.width ? 2 : 1,
            strip = (kFontHeight + 4) * scale_of_text;
  Picture picture{info.width, info.height + strip, {}};
  picture.rgb.resize(info.bytes());
  decode_png(figure.png, figure.name, info, picture.rgb.data());
  picture.rgb.resize(picture.info().bytes());
  draw_text(picture, 4, info.height + 2 * scale_of_text, scale_of_text, text);
  figure.png = encode_png(picture.info(), picture.rgb.data());
}

std::vector<std::filesystem::path> write_figure(const Figure& figure,
                                                const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> written;
  const auto write = [&](const std::string& name, std::string_view content) {
    written.push_back(folder / name);
    write_file_durably(written.back().string(), content);
  };
  if (!figure.png.empty())
    write(figure.name + ".png",
          {reinterpret_cast<const char*>(figure.png.data()), figure.png.size()});
  for (size_t i = 0; i < figure.panels.size(); ++i)
    write(figure.panels.size() == 1 ? figure.name + ".svg"
                                    : fmt::format("{}_{}.svg", figure.name, i + 1),
          figure.panels[i].file());
  Json file = Json::object();
  file["format_version"] = 1;
  file["figure"] = figure.name;
  file["title"] = figure.title;
  file["caption"] = figure.caption;
  file["numbers"] = figure.numbers;
  write(figure.name + ".json", file.text());
  return written;
}

void show(Page& page, const Figure& figure) {
  page.subsection(figure.title);
  if (!figure.png.empty())
    page.image(figure.png, figure.title, figure.caption);
  else if (figure.panels.size() == 1)
    page.figure(figure.panels.front(), figure.caption, figure.table);
  else
    page.figures(figure.panels, figure.caption, figure.table);
}

}  // namespace mono::report
