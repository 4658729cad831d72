// Screens that a screen.toml describes: read, through every command, and every mistake by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "tests/paths.h"
#include "tests/train/data/own_screen.h"
#include "tests/train/data/test_screen.h"
#include "train/commands.h"
#include "train/data/check.h"
#include "train/data/commands.h"
#include "train/data/csv.h"
#include "train/data/image_source.h"
#include "train/data/png.h"
#include "train/data/screen_file.h"
#include "train/data/split.h"
#include "train/data/tiff.h"
#include "train/json.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using test::write_text;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return at == text.npos ? text : text.replace(at, from.size(), to);
}

void write_tables(const fs::path& dir, const std::string& description, const std::string& table) {
  write_text(dir / "screen.toml", description);
  write_text(dir / "wells.csv", table);
}

struct Opened {
  Dataset dataset;
  std::vector<Problem> problems;
  std::vector<std::string> notes;
};

Opened open(const fs::path& dir) {
  Opened o;
  o.dataset = open_dataset(dir, o.problems, o.notes);
  return o;
}

// ---- what is read -------------------------------------------------------------------------------

TEST(OwnScreen, TableAndTree) {
  TempDir dir;
  test::write_own_screen(dir.path());
  const Dataset d = open_dataset(dir.path());
  EXPECT_EQ(d.form, TableForm::described);
  EXPECT_EQ(d.layout, Layout::described);
  EXPECT_EQ(d.image_size, test::kOwnSide);
  EXPECT_EQ(d.channels_on_disk, 4);
  EXPECT_THAT(d.experiments, ElementsAre("run 1", "run 2", "run 3"));
  EXPECT_THAT(d.cell_types, ElementsAre("cells"));
  // Treatments, then positive, then negative controls.
  EXPECT_THAT(d.class_names, ElementsAre("cpd 2", "rotenone", "taxol", "DMSO"));
  EXPECT_THAT(d.moas, ElementsAre("tubulin", "unknown"));
  EXPECT_THAT(d.plate_names[2], ElementsAre("PL3-9", "PL3-10"));  // natural order
  ASSERT_EQ(d.sites.size(), 48u);
  const Site& s = d.sites[0];
  EXPECT_EQ(s.site_id, "run 1_PL1-10_B02_1");
  EXPECT_EQ(s.plate, 2);
  EXPECT_EQ(d.plate_name(s.experiment, s.plate), "PL1-10");
  EXPECT_EQ(s.well_type, WellType::positive_control);
  EXPECT_EQ(d.file_of(s, 2), "plates/PL1-10/B02-f01-561.png");
  for (int i = 0; i < 48; ++i) EXPECT_TRUE(d.complete(i));
  const Split split = make_split(d, {});
  EXPECT_EQ(split.train.size(), 32u);
  EXPECT_EQ(split.test.size(), 16u);
  EXPECT_EQ(channel_displays(d)[3].high, 120);
  EXPECT_EQ(channel_displays(d)[0].colour, (std::array<int, 3>{0x40, 0x40, 255}));
}

TEST(OwnScreen, ARowAWellItsColumnsJoinedAndItsKindInAColumn) {
  TempDir dir;
  write_tables(dir.path(), R"(
[table]
file = "layout.tsv"
sites = 3
[columns]
experiment = "{Day}/{Line}"
well = "Well"
treatment = "{Compound}@{Dose}"
control = "Role"
split = "Part"
cell_type = "Line"
[controls]
negative = ["neg"]
treatment = ["", "sample"]
[split]
train = ["learn"]
test = ["hold"]
[plate]
wells = 1536
[images]
file = ["{Folder}/r{row_number:02}c{column:02}f{site}-a.tif", "{Folder}/{row}_{{x}}_{site}.TIF"]
[channels]
names = ["a", "b"]
)",
               "");
  write_text(dir / "layout.tsv",
             "Day\tLine\tWell\tCompound\tDose\tRole\tPart\tFolder\n"
             "1\tHeLa\taf48\tA\t10\tsample\tlearn\td1/x\n"
             "1\tHeLa\tA1\tB\t3\tneg\tlearn\td1/y\n"
             "2\tHeLa\tZ9\tA\t10\t\thold\td2/x\n");
  const Opened o = open(dir.path());
  ASSERT_TRUE(o.problems.empty()) << o.problems[0].message;
  const Dataset& d = o.dataset;
  ASSERT_EQ(d.sites.size(), 9u);
  EXPECT_THAT(d.class_names, ElementsAre("A@10", "B@3"));
  EXPECT_EQ(d.layout, Layout::none);
  std::vector<std::string> files;
  for (const Site& s : d.sites)
    if (s.site == 2)
      for (int c = 0; c < 2; ++c) files.push_back(d.file_of(s, c));
  EXPECT_THAT(files, ElementsAre("d1/y/r01c01f2-a.tif", "d1/y/A_{x}_2.TIF", "d1/x/r32c48f2-a.tif",
                                 "d1/x/AF_{x}_2.TIF", "d2/x/r26c09f2-a.tif", "d2/x/Z_{x}_2.TIF"));
  EXPECT_EQ(d.sites[0].well, "A01");
  EXPECT_EQ(d.sites[0].well_type, WellType::negative_control);
  EXPECT_EQ(d.plate_name(0, 1), "1");
  EXPECT_FALSE(d.sites[0].in_test);
  EXPECT_TRUE(d.sites[8].in_test);
}

// A test row of which all parts of the treatment are empty is unlabelled, and a role may be empty.
TEST(OwnScreen, EmptyPartsMakeNoName) {
  TempDir dir;
  write_tables(dir.path(), R"(
[table]
file = "wells.csv"
[columns]
experiment = "e"
well = "w"
treatment = "{t}@{d:02}"
control = "r"
[controls]
negative = [""]
treatment = ["x"]
[split]
test_experiments = ["2"]
[plate]
wells = 6
[images]
folder = "./a/."
file = "./{e}/./{w}.png"
[channels]
names = ["only"]
)",
               "e,w,t,d,r\n1,A1,A,3,x\n1,A2,D,0,\n2,A1,,,x\n");
  const Opened o = open(dir.path());
  ASSERT_TRUE(o.problems.empty()) << o.problems[0].message;
  EXPECT_THAT(o.dataset.class_names, ElementsAre("A@03", "D@00"));
  EXPECT_EQ(o.dataset.sites[1].well_type, WellType::negative_control);
  EXPECT_EQ(o.dataset.sites[2].sirna_id, -1);
  EXPECT_EQ(o.dataset.file_of(o.dataset.sites[2], 0), "a/2/A1.png");
}

// {plate} is the plate's name and {row} the well's row, whatever columns of these names hold.
TEST(OwnScreen, PlacesComeBeforeColumns) {
  TempDir dir;
  write_tables(dir.path(),
               replaced(test::own_description(), "{plate}/{well}-f{site:02}",
                        "{plate}/{well}{row}-f{site:02}{Operator}"),
               replaced(test::own_table(), "Barcode,Position,Field,Compound,Target,Run,Operator",
                        "Barcode,Position,Field,Compound,row,plate,Operator"));
  write_text(dir / "screen.toml",
             replaced(replaced(test::read_text(dir / "screen.toml"), "\"Target\"", "\"row\""),
                      "\"Run\"", "\"plate\""));
  const Opened o = open(dir.path());
  ASSERT_TRUE(o.problems.empty()) << o.problems[0].message;
  EXPECT_EQ(o.dataset.file_of(o.dataset.sites[0], 0), "plates/PL1-10/B02B-f01AB-405.png");
}

// As few and as many channels as may be, and three, which are not the RGB of RxRx1-WILDS: from the
// files and from a cache.
TEST(OwnScreen, OneToEightChannels) {
  for (const int channels : {1, 3, 8}) {
    SCOPED_TRACE(channels);
    TempDir dir, out;
    std::string names;
    for (int c = 1; c <= channels; ++c) names += fmt::format("\"c{}\", ", c);
    write_tables(dir.path(),
                 fmt::format(R"(
[table]
file = "wells.csv"
[columns]
experiment = "e"
well = "w"
treatment = "t"
[plate]
wells = 6
[images]
file = "{{well}}-{{channel}}.png"
[channels]
names = [{}]
)",
                             names),
                 "e,w,t\nx,A1,one\nx,A2,two\n");
    std::vector<uint8_t> pixels(4);
    for (int well = 1; well <= 2; ++well)
      for (int c = 1; c <= channels; ++c) {
        pixels = {static_cast<uint8_t>(10 * well + c), 0, 1, 2};
        write_png(dir / fmt::format("A{:02}-{}.png", well, c), {2, 2, 1}, pixels.data(), 1);
      }
    EXPECT_TRUE(check_dataset(dir.path()).problems.empty());
    EXPECT_EQ(run_data_pack({dir.path(), out / "cache", "raw", 0, false, false}), 0);
    EXPECT_EQ(run_data_montage({dir.path(), out / "m.png", {}, 112, 2}), 0);
    for (const fs::path& cache : {fs::path(), out / "cache"}) {
      Dataset d = open_dataset(dir.path());
      const auto images = open_images(d, cache);
      EXPECT_FALSE(d.rgb);
      ASSERT_EQ(d.channels_on_disk, channels);
      for (int well = 1; well <= 2; ++well) {
        EXPECT_TRUE(d.complete(well - 1));
        for (int c = 0; c < channels; ++c) {
          images->read(well - 1, std::span(&c, 1), pixels.data());
          EXPECT_THAT(pixels, ElementsAre(10 * well + c + 1, 0, 1, 2));
        }
      }
    }
  }
}

TEST(OwnScreen, Wells) {
  EXPECT_EQ(well_name("b2", 96), "B02");
  EXPECT_EQ(well_name("H012", 96), "H12");
  EXPECT_EQ(well_name("AF48", 1536), "AF48");
  EXPECT_EQ(last_well(384), "P24");
  for (const char* wrong : {"", "2B", "I1", "A0", "A13", "A", "ABC1", "A0001", "A-1", " A1", "A1 "})
    EXPECT_EQ(well_name(wrong, 96), "") << wrong;
}

// 16-bit TIFF: the count that becomes white is the screen's own.
TEST(OwnScreen, SixteenBitTiff) {
  if (!tiff_is_built()) GTEST_SKIP() << "built without libtiff";
  // One strip of 2 x 2 pixels, little-endian: counts 0, 1000, 2000, 4095.
  const auto u16 = [](int v) {
    return std::string{static_cast<char>(v & 255), static_cast<char>(v >> 8)};
  };
  const auto entry = [&](int tag, int type, int value) {
    return u16(tag) + u16(type) + u16(1) + u16(0) + u16(value) + u16(0);
  };
  const std::string tiff = "II" + u16(42) + u16(16) + u16(0) + u16(0) + u16(1000) + u16(2000) +
                           u16(4095) + u16(9) + entry(256, 3, 2) + entry(257, 3, 2) +
                           entry(258, 3, 16) + entry(259, 3, 1) + entry(262, 3, 1) +
                           entry(273, 4, 8) + entry(277, 3, 1) + entry(278, 3, 2) +
                           entry(279, 4, 8) + u16(0) + u16(0);
  TempDir dir;
  const std::string description = R"(
[table]
file = "wells.csv"
[columns]
experiment = "e"
well = "w"
treatment = "t"
[plate]
wells = 6
[images]
file = "{well}.tif"
white = 4095
[channels]
names = ["only"]
)";
  write_tables(dir.path(), description, "e,w,t\nx,A1,one\n");
  write_text(dir / "A01.tif", tiff);
  const Dataset d = open_dataset(dir.path());
  ASSERT_EQ(d.image_size, 2);
  const std::vector<int> channels = {0};
  std::vector<uint8_t> pixels(4);
  FileImages(d).read(0, channels, pixels.data());
  EXPECT_THAT(pixels, ElementsAre(0, 62, 125, 255));
}

// ---- through the program ------------------------------------------------------------------------

struct Outcome {
  int code;
  std::string out, err;
};

class OwnScreenCommands : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    screen_ = new TempDir;
    test::write_own_screen(screen_->path());
  }
  static void TearDownTestSuite() { delete screen_; }

  Outcome run(const std::string& words) const {
    const fs::path out = work_ / "out", err = work_ / "err";
    const int status =
        std::system(fmt::format("'{}' {} --data '{}' > '{}' 2> '{}'", test::program(), words,
                                screen_->path().string(), out.string(), err.string())
                        .c_str());
    return {WEXITSTATUS(status), test::read_text(out), test::read_text(err)};
  }

  static std::string sets() {
    return " --set train.epochs=1 --set loader.workers=1 --set checkpoint.every_epochs=0";
  }

  TempDir work_;
  static inline TempDir* screen_ = nullptr;
};

TEST_F(OwnScreenCommands, CheckStatsAndMontage) {
  const Outcome check = run("data check --json");
  EXPECT_EQ(check.code, 0) << check.out << check.err;
  const JsonView report = parse_json(check.out, "check");
  EXPECT_EQ(report["complete_sites"].integer(), 48);
  EXPECT_EQ(report["layout"].string(), "described");
  const Outcome stats = run("data stats");
  EXPECT_EQ(stats.code, 0) << stats.err;
  EXPECT_THAT(stats.out, AllOf(HasSubstr("192 images"), HasSubstr("run 3"), HasSubstr("PL3-10")));
  EXPECT_THAT(run("data stats --json").out, HasSubstr("\"plate\": \"PL1-9\""));
  EXPECT_EQ(run("data stats --normalise constants").code, 2);
  const Outcome montage = run("data montage --out '" + (work_ / "m.png").string() + "'");
  EXPECT_EQ(montage.code, 0) << montage.err;
}

// Trained from the cache, evaluated and embedded: groups of whole images.
TEST_F(OwnScreenCommands, TrainEvaluateAndEmbed) {
  const std::string cache = " --cache '" + (work_ / "own.cache").string() + "'",
                    folder = "'" + (work_ / "run").string() + "'";
  EXPECT_EQ(run("data pack --out '" + (work_ / "own.cache").string() + "'").code, 0);
  const Outcome train =
      run("train --recipe own/adabn --set model.backbone=densenet_smoke --set model.growth=4 --set "
          "model.blocks=[1,2] --set model.stem=8 --set model.neck=16 --set batch.groups=2 --set "
          "batch.group_size=6 --out " +
          folder + cache + " --set data.crop=16" + sets());
  ASSERT_EQ(train.code, 0) << train.err;
  const Outcome evaluate = run("evaluate " + folder);
  ASSERT_EQ(evaluate.code, 0) << evaluate.err;
  std::string json;
  for (const auto& entry : fs::directory_iterator(work_ / "run" / "evaluation"))
    if (entry.path().extension() == ".json") json = test::read_text(entry.path());
  const JsonView result = parse_json(json, "evaluation");
  EXPECT_EQ(result["classes"].integer(), 4);
  EXPECT_EQ(result["images"].integer(), 16);
  EXPECT_THAT(json, HasSubstr("\"run 3\""));
  const Outcome embed =
      run("embed " + folder + " --parts train,test --out '" + (work_ / "emb").string() + "'");
  ASSERT_EQ(embed.code, 0) << embed.err;
  EXPECT_THAT(test::read_text(work_ / "emb" / "metadata.csv"),
              HasSubstr("run 1_PL1-10_B02_1,PL1-10,B02,1,run 1,cells,taxol,2,,tubulin,"
                        "positive_control,train,train"));
  // Channels are those of the screen; asking for more is refused with the remedy.
  const Outcome more =
      run("train --recipe rxrx1/table1/adabn --out '" + (work_ / "other").string() + "'");
  EXPECT_EQ(more.code, 2);
  EXPECT_THAT(more.err, HasSubstr("some of 1..4, or to [] for all of them"));
}

TEST_F(OwnScreenCommands, TrainOnViews) {
  const std::string folder = "'" + (work_ / "run").string() + "'";
  const Outcome train =
      run("train --recipe own/cdcl --from-scratch --set model.backbone=deit_smoke --set "
          "model.patch=4 --set model.depth=1 --set model.dim=16 --set model.heads=2 --set "
          "data.resize=0 --set batch.anchors=6 --set views.size=16 --set views.local_size=8 --set "
          "views.locals=2 --set ssl.hidden=24 --set ssl.bottleneck=16 --set ssl.outputs=20 --set "
          "optim.warmup_steps=1 --set validation.k=3 --out " +
          folder + sets());
  ASSERT_EQ(train.code, 0) << train.err;
  const Outcome evaluate = run("evaluate " + folder);
  EXPECT_EQ(evaluate.code, 0) << evaluate.err;
  const Outcome report =
      run("data report --run " + folder + " --out '" + (work_ / "page.html").string() + "'");
  EXPECT_EQ(report.code, 0) << report.err;
  EXPECT_THAT(report.out, AllOf(HasSubstr("% with the network's features, "),
                                HasSubstr("% with Z-normed features, ")));
}

// Names with commas and quotes, in the table of what a run does without.
TEST(OwnScreen, WhatIsLeftOutIsListed) {
  TempDir dir;
  test::write_own_screen(dir / "screen");
  std::string table = test::own_table();
  for (size_t at = 0; (at = table.find("run 1", at)) != table.npos; at += 5)
    table.replace(at, 5, "\"run, 1\"");
  write_text(dir / "screen" / "wells.csv", table);
  fs::remove(dir / "screen" / "plates" / "PL1-9" / "B03-f02-488.png");
  TrainOptions train;
  train.recipe = "own/adabn";
  train.sets = {"model.backbone=densenet_smoke",
                "model.growth=4",
                "model.blocks=[1,2]",
                "model.stem=8",
                "model.neck=16",
                "batch.groups=2",
                "batch.group_size=6",
                "data.crop=16",
                "train.epochs=1",
                "checkpoint.every_epochs=0"};
  train.data = dir / "screen";
  train.out = dir / "run";
  EXPECT_EQ(run_train(train), 0);
  const CsvTable list = read_csv(dir / "run" / "left_out.csv", "left_out.csv");
  ASSERT_EQ(list.rows.size(), 1u);
  EXPECT_THAT(list.rows[0].fields,
              ElementsAre("run, 1_PL1-9_B03_2", "plates/PL1-9/B03-f02-488.png: missing"));
}

// images.folder may lead out of --data: what lies there is as safe.
TEST(OwnScreen, ImagesOutsideItsFolderAreNotOverwritten) {
  for (const bool absolute : {false, true}) {
    TempDir dir;
    test::write_own_screen(dir / "screen");
    fs::rename(dir / "screen" / "plates", dir / "plates");
    write_text(dir / "screen" / "screen.toml",
               replaced(test::own_description(), "\"plates\"",
                        absolute ? "\"" + (dir / "plates").string() + "\"" : "\"../plates\""));
    const fs::path image = dir / "plates" / "PL1-9" / "B02-f01-405.png";
    const std::string before = test::read_text(image);
    try {
      run_data_montage({dir / "screen", image, {}, 112, 2});
      ADD_FAILURE() << "overwritten";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      EXPECT_THAT(e.what(), HasSubstr("lies among the screen's images"));
    }
    EXPECT_EQ(test::read_text(image), before);
    // Nor what has no row.
    fs::create_directory(dir / "plates" / "PL9-1");
    EXPECT_THROW(run_data_montage({dir / "screen", dir / "plates" / "PL9-1" / "a.png", {}, 112, 2}),
                 Error);
    EXPECT_EQ(run_data_montage({dir / "screen", dir / "m.png", {}, 112, 2}), 0);
  }
}

// ---- mistakes -----------------------------------------------------------------------------------

struct KeyCase {
  const char *from, *to, *message;
};

class ScreenKeys : public testing::TestWithParam<KeyCase> {};

TEST_P(ScreenKeys, ExitWithTheirPlaceAndRemedy) {
  TempDir dir;
  const KeyCase& c = GetParam();
  write_tables(dir.path(), replaced(test::own_description(), c.from, c.to), test::own_table());
  try {
    open(dir.path());
    ADD_FAILURE() << "accepted: " << c.to;
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_EQ(std::string(e.what()).find((dir / "screen.toml").string() + ":"), 0u) << e.what();
    EXPECT_THAT(e.what(), HasSubstr(c.message));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, ScreenKeys,
    testing::Values(
        KeyCase{"Barcode\"", "Barcode\"\nplates = \"x\"",
                "9:1: unknown key 'columns.plates'; did you mean 'columns.plate'?"},
        KeyCase{"[plate]", "[plates]\n[plate]", "unknown table 'plates'; did you mean 'plate'?"},
        KeyCase{"experiment = \"Run\"", "", "6:2: key 'columns.experiment' is missing; add it"},
        KeyCase{"wells = 96", "wells = 100", "22:9: plate.wells: there is no plate of 100 wells"},
        KeyCase{"wells = 96", "wells = \"96\"", "is a string, where an integer is expected"},
        KeyCase{"wells = 96", "", "21:2: key 'plate.wells' is missing"},
        KeyCase{"[\"DMSO\"]", "\"DMSO\"", "where an array of strings, such as [\"DMSO\"]"},
        KeyCase{"[\"DMSO\"]", "[\"taxol\"]", "'taxol' is also in controls.negative"},
        KeyCase{"[\"DMSO\"]", "[\"DMSO\", \"\"]",
                "15:1: controls.negative: '' would be wells without a treatment, which have no "
                "class"},
        KeyCase{"[\"DMSO\"]", "[\"DMSO\"]\ntreatment = [\"x\"]",
                "lists values of columns.control, which is not given"},
        KeyCase{"test_experiments = [\"run 3\"]", "test = [\"x\"]",
                "name the experiments in split.test_experiments"},
        KeyCase{"file = \"wells.csv\"", "file = \"wells.csv\"\nsites = 2",
                "columns.site gives each row its own; leave one of the two out"},
        KeyCase{"-{channel}.png", ".png", "put {channel} there, or give an array"},
        KeyCase{"{channel}.png", "{channel}.jpg", "does not end with .png, .tif or .tiff"},
        KeyCase{"{channel}.png", "{channel.png", "has a '{' that is not closed"},
        KeyCase{"{site:02}", "{site:x}", "stands the number of digits, 1 to 9"},
        KeyCase{"\"405\", \"488\",", "\"405\",",
                "channels.files: has 3 elements, channels.names has 4; give one a channel"},
        KeyCase{"#4040ff", "blue", "'blue' is not a colour; write red, green and blue as #ff8000"},
        KeyCase{"255, 255, 200", "255, 256, 200", "channels.white: 256 is out of range, 1 to 255"},
        KeyCase{"\"actin\", ", "\"DNA\", ", "channels.names: 'DNA' appears twice"},
        KeyCase{"[controls]", "[controls", "14:10: "},
        KeyCase{"format_version = 1", "format_version = 2", "2 is out of range, 1 to 1"}));

struct TableCase {
  const char *description_from, *description_to, *from, *to, *kind, *message;
};

class ScreenTables : public testing::TestWithParam<TableCase> {};

TEST_P(ScreenTables, AreProblemsWithFileRowAndRemedy) {
  TempDir dir;
  const TableCase& c = GetParam();
  write_tables(dir.path(), replaced(test::own_description(), c.description_from, c.description_to),
               replaced(test::own_table(), c.from, c.to));
  const Opened o = open(dir.path());
  ASSERT_FALSE(o.problems.empty());
  EXPECT_EQ(o.problems[0].kind, c.kind);
  EXPECT_THAT(o.problems[0].message, HasSubstr(c.message));
}

INSTANTIATE_TEST_SUITE_P(
    All, ScreenTables,
    testing::Values(
        TableCase{"\"Barcode\"", "\"Barcod\"", "", "", "column",
                  "screen.toml:8:9: columns.plate: wells.csv has no column 'Barcod'; did you mean "
                  "'Barcode'?; it has: Barcode, Position,"},
        TableCase{"{plate}/", "{plat}/", "", "", "column",
                  "images.file: wells.csv has no column 'plat'; did you mean 'plate'?"},
        TableCase{"\"DMSO\"", "\"DMS0\"", "", "", "control",
                  "controls.negative: 'DMS0' is the treatment of no row of wells.csv; did you mean "
                  "'DMSO'?; correct it or leave it out"},
        TableCase{"run 3", "run 4", "", "", "split", "'run 4' is the experiment of no row"},
        TableCase{"", "", "PL1-9,B2,1", "PL1-9,I2,1", "well",
                  "wells.csv:2: well 'I2' is not on a plate of 96 wells (A01 to H12"},
        TableCase{"f{site:02}", "f{Operator:02}", "", "", "number",
                  "wells.csv:2: {Operator:02} needs a whole number, and Operator is 'AB'"},
        TableCase{"", "", "PL1-9,B2,1", "PL1-9,B2,one", "site",
                  "wells.csv:2: site 'one' is not a whole number from 0 to 9999"},
        TableCase{"", "", "PL1-9,B2,1", "PL1-9,B2,2", "duplicate",
                  "wells.csv:3: site 'run 1_PL1-9_B02_2' was already given by wells.csv:2"},
        TableCase{"", "", "PL1-9,B2,1,taxol,tubulin,run 1,AB\nPL1-9,B2,2,taxol,tubulin,run 1,",
                  "a_PL1-9,B2,1,taxol,tubulin,run 1,AB\nPL1-9,B2,1,taxol,tubulin,run 1_a,", "id",
                  "wells.csv:3: experiment 'run 1_a' with plate 'PL1-9' makes the site_id "
                  "'run 1_a_PL1-9_B02_1', as 'run 1' with 'a_PL1-9' of wells.csv:2 does; rename"},
        TableCase{"", "", "1,taxol,tubulin", "1,taxol,\"tub\nulin\"", "moa",
                  "wells.csv:2: the mechanism is not a name of 1 to 128 printable characters"},
        TableCase{"\"Compound\"", "\"{Compound}@{Target}\"", "1,taxol,tubulin", "1,,", "label",
                  "wells.csv:2: the training row has no treatment"},
        TableCase{"\"{plate}/{well}", "\"{Operator}/{plate}/{well}", "run 1,AB", "run 1,a/./../b",
                  "file", "makes 'a/../b/PL1-9/B02-f01-405.png' of the row, which is not a file"},
        TableCase{"", "", "PL1-9,B2,1", ",B2,1", "plate",
                  "wells.csv:2: plate '' is not a name of 1 to 128 printable characters"},
        TableCase{"", "", "PL1-9,B2,1", "../x,B2,1", "file",
                  "makes '../x/B02-f01-405.png' of the row, which is not a file below"},
        TableCase{"-f{site:02}", "", "", "", "file",
                  "put what tells them apart into images.file of screen.toml"},
        TableCase{"", "", "1,taxol", "1,", "label",
                  "wells.csv:2: the training row has no treatment"},
        TableCase{"", "", "1,taxol,tubulin", "1,taxol,actin", "contradiction",
                  "wells.csv:3: the mechanism of treatment 'taxol' is 'tubulin', wells.csv:2 says "
                  "'actin'; a treatment has one"},
        TableCase{"treatment = \"Compound\"", "treatment = \"Compound\"\ncell_type = \"Field\"", "",
                  "", "contradiction",
                  "the cell type of experiment run 1 is '2', wells.csv:2 says"},
        TableCase{"treatment = \"Compound\"", "treatment = \"Compound\"\ncontrol = \"Operator\"",
                  "run 1,AB", "run 1,DMSO", "control",
                  "wells.csv:3: columns.control is 'AB', which is in none of controls.negative"},
        TableCase{"\"wells.csv\"", "\"wells.csv\"", "PL1-9,B2,1", "PL1-9,,1", "well",
                  "wells.csv:2: well ''"}));

// One fault of all rows is no further one of screen.toml, nor of the images.
TEST(OwnScreen, FaultyRowsAreNoReasonForMore) {
  TempDir dir;
  test::write_own_screen(dir.path());
  write_text(dir / "screen.toml", replaced(test::own_description(), "\"Position\"", "\"Field\""));
  const Opened o = open(dir.path());
  EXPECT_EQ(o.problems.size(), 48u);
  for (const Problem& p : o.problems) EXPECT_EQ(p.kind, "well");
  // One row: its images are said to have a faulty one.
  write_tables(dir.path(), test::own_description(),
               replaced(test::own_table(), "PL1-9,B2,1", "PL1-9,I2,1"));
  EXPECT_THAT(open(dir.path()).notes,
              ElementsAre("plates/PL1-9: 4 images have no row in the table (or one with a problem) "
                          "and are not used, e.g. B02-f01-405.png"));
}

TEST(OwnScreen, NamesAreMeasuredInCharacters) {
  TempDir dir;
  std::string name;
  for (int i = 0; i < 128; ++i) name += "\u00e9";
  write_tables(dir.path(), replaced(test::own_description(), "negative = [\"DMSO\"]\n", ""),
               replaced(test::own_table(), "1,DMSO", "1," + name));
  EXPECT_TRUE(open(dir.path()).problems.empty());
  write_tables(dir.path(), replaced(test::own_description(), "negative = [\"DMSO\"]\n", ""),
               replaced(test::own_table(), "1,DMSO", "1," + name + "e"));
  EXPECT_EQ(open(dir.path()).problems.size(), 1u);
}

TEST(OwnScreen, MissingFilesAreNamed) {
  TempDir dir;
  test::write_own_screen(dir.path());
  fs::remove(dir / "plates" / "PL2-9" / "B03-f02-488.png");
  fs::copy_file(dir / "plates" / "PL2-9" / "B03-f02-640.png", dir / "plates" / "PL2-9" / "x.png");
  const CheckReport report = check_dataset(dir.path());
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_EQ(report.problems[0].kind, "missing");
  EXPECT_EQ(report.problems[0].file, "plates/PL2-9/B03-f02-488.png");
  EXPECT_EQ(report.complete_sites, 47);
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_EQ(report.notes[0],
            "plates/PL2-9: 1 image has no row in the table and is not used, e.g. x.png");
  // Nothing where the pattern points: the first name that was looked for.
  fs::remove_all(dir / "plates");
  const CheckReport none = check_dataset(dir.path());
  ASSERT_EQ(none.problems.size(), 1u);
  EXPECT_THAT(none.problems[0].message,
              HasSubstr("files as images.file of screen.toml names them, such as "
                        "plates/PL1-10/B02-f01-405.png"));
  // And without the table.
  fs::remove(dir / "wells.csv");
  try {
    open(dir.path());
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_THAT(e.what(), HasSubstr("table.file is 'wells.csv'"));
  }
}

}  // namespace
}  // namespace mono
