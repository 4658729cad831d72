// A bitmap font for labels in pictures: printable ASCII, 5 x 8 pixels in a cell of 6 x 9.
#pragma once

namespace mono {

inline constexpr int kFontWidth = 6, kFontHeight = 9;

// Whether pixel (x, y) of the character's cell is set. What has no glyph shows as a box.
bool font_pixel(char c, int x, int y);

}  // namespace mono
