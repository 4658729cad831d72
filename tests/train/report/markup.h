// A small strict reader of XML, for SVG and for pages, which are written so that they are XML too.
//
// It refuses what a browser would silently mend: tags that do not match, attributes without quotes
// or given twice, bare & and <, entities other than the five of XML and numbers, control
// characters. Independent of what writes.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace mono::test {

struct Element {
  std::string name;
  std::map<std::string, std::string> attributes;  // entities replaced
  std::string text;                               // of this element alone, entities replaced
  std::vector<Element> children;

  // This and all below, in the order of the document.
  void each(const std::function<void(const Element&)>& visit) const;
  std::vector<const Element*> all(const std::string& name) const;
  std::string attribute(const std::string& key) const;  // empty if there is none
  std::string all_text() const;                         // of this and all below
};

// Writes a page to MONO_BROWSER_PAGES/NAME.html where that is set: browser_test.py looks at it.
void show_to_browser(const std::string& name, const std::string& html);

// The document's element. Throws std::runtime_error with the place.
Element parse_markup(const std::string& text);

}  // namespace mono::test
