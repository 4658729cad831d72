#include "tests/train/report/markup.h"

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace mono::test {
namespace {

class Reader {
 public:
  explicit Reader(const std::string& text) : text_(text) {}

  Element document() {
    skip("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    space();
    skip("<!DOCTYPE html>");
    space();
    Element root = element();
    space();
    if (at_ != text_.size()) refuse("something behind the end");
    return root;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw std::runtime_error(what + " at " + std::to_string(at_) + ": ..." +
                             text_.substr(at_ < 40 ? 0 : at_ - 40, 100));
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool skip(const std::string& word) {
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }
  void expect(const std::string& word) {
    if (!skip(word)) refuse("'" + word + "' expected");
  }
  void space() {
    while (peek() == ' ' || peek() == '\n' || peek() == '\t') ++at_;
  }
  std::string name() {
    const size_t begin = at_;
    const auto letter = [&](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '-' || c == ':' || c == '_';
    };
    while (letter(peek())) ++at_;
    if (begin == at_) refuse("a name expected");
    return text_.substr(begin, at_ - begin);
  }
  char entity() {
    const std::pair<const char*, char> known[] = {
        {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&#39;", '\''}};
    for (const auto& [word, c] : known)
      if (skip(word)) return c;
    refuse("a bare &");
  }
  char letter() {
    const char c = peek();
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F) refuse("a control character");
    if (c == '&') return entity();
    ++at_;
    return c;
  }
  void attribute(Element& to) {
    const std::string key = name();
    expect("=\"");
    std::string value;
    while (peek() != '"') {
      if (peek() == '<' || at_ >= text_.size()) refuse("an attribute without end");
      value += letter();
    }
    expect("\"");
    if (!to.attributes.emplace(key, value).second) refuse("attribute '" + key + "' twice");
  }
  Element element() {
    Element out;
    expect("<");
    out.name = name();
    while (true) {
      const size_t before = at_;
      space();
      if (skip("/>")) return out;
      if (skip(">")) break;
      if (before == at_) refuse("a space before an attribute expected");
      attribute(out);
    }
    while (!skip("</")) {
      if (at_ >= text_.size()) refuse("'" + out.name + "' is not closed");
      if (peek() == '<')
        out.children.push_back(element());
      else
        out.text += letter();
    }
    const std::string closing = name();
    if (closing != out.name) refuse("'" + out.name + "' is closed by '" + closing + "'");
    expect(">");
    return out;
  }

  const std::string& text_;
  size_t at_ = 0;
};

}  // namespace

void Element::each(const std::function<void(const Element&)>& visit) const {
  visit(*this);
  for (const Element& child : children) child.each(visit);
}

std::vector<const Element*> Element::all(const std::string& wanted) const {
  std::vector<const Element*> found;
  each([&](const Element& element) {
    if (element.name == wanted) found.push_back(&element);
  });
  return found;
}

std::string Element::attribute(const std::string& key) const {
  const auto found = attributes.find(key);
  return found == attributes.end() ? "" : found->second;
}

std::string Element::all_text() const {
  std::string out;
  each([&](const Element& element) { out += element.text + "\n"; });
  return out;
}

void show_to_browser(const std::string& name, const std::string& html) {
  const char* folder = std::getenv("MONO_BROWSER_PAGES");
  if (folder) std::ofstream(std::string(folder) + "/" + name + ".html", std::ios::binary) << html;
}

Element parse_markup(const std::string& text) {
  return Reader(text).document();
}

}  // namespace mono::test
