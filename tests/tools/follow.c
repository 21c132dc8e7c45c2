/* SPDX-License-Identifier: MIT */
/*
 * follow STATE_DIR FOLDER
 *
 * For tests: follows the transaction logs of a mount that is running, and
 * compares what they say with the databases. Started before the mount goes over
 * FOLDER, it goes on reading the bare files there: opening them through the mount
 * would itself be an open and a close that the mount captures at. For each
 * database it keeps an image, made of nothing but the log from its very beginning.
 *
 * Each line on stdin is a command, answered by a line of JSON:
 *
 *   take DATABASE_ID NAME           applies the log's new records to the image
 *   index DATABASE_ID NAME [COPY]   … and compares it with the database as the
 *                                   WAL-index publishes it
 *   chain DATABASE_ID NAME [COPY]   … as a recovery of the WAL would find it
 *
 * COPY is a file for the database as it was found. The answer: the position
 * (generation, txid), records and how many of them are merged ones; after a
 * comparison wal_mode, commits (transactions in the WAL since the comparison
 * before), changed (the database has another content than then), how many pages
 * differ, and the first of them. Or "unsure": the WAL-index cannot be read until
 * a connection has read the database. Or "error", and the program ends.
 */
#include "base/file.h"
#include "base/hash.h"
#include "replicate/page.h"
#include "tests/tools/original.h"
#include "tests/tools/roll.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <sys/mman.h>

#define N_NAMED 10 /* differing pages that are named */

/* The image of one database, in a list that lives as long as the process. */
struct followed {
	struct followed *next;
	char *id;
	char *log_path;
	struct apply apply;
	struct original_mark mark; /* of the original, as compared last */
	uint64_t hash;		   /* of its pages */
};

struct follow {
	int state_fd;
	int folder_fd;
	struct followed *first;
};

struct command {
	const char *verb;
	const char *id;
	const char *name;
	const char *copy; /* or NULL */
};

static struct followed *find_followed(struct follow *follow, const char *id)
{
	struct followed *followed = follow->first;

	while (followed != NULL && strcmp(followed->id, id) != 0)
		followed = followed->next;
	return followed;
}

static int add_followed(struct follow *follow, const char *id, struct followed **ret_followed,
			struct error *err)
{
	struct followed *followed = calloc(1, sizeof(*followed));
	int fd = memfd_create("image", MFD_CLOEXEC);

	*ret_followed = followed;
	if (followed == NULL || fd < 0)
		return error_set(err, ENOMEM, "no room for an image");
	followed->id = strdup(id);
	followed->next = follow->first;
	follow->first = followed;
	if (followed->id == NULL || asprintf(&followed->log_path, "db/%s", id) < 0)
		return error_set(err, ENOMEM, "out of memory");
	return apply_init(&followed->apply, fd, err);
}

/* Brings the image to the end of the log as it is now. */
static int take(struct follow *follow, struct followed *followed, struct roll *roll,
		struct error *err)
{
	struct apply *apply = &followed->apply;
	struct txlog log CLEANUP(txlog_close) = { .fd = -1, .index_fd = -1 };
	struct txlog_state state;
	int r = txlog_open_read_only(&log, follow->state_fd, followed->log_path, &state, err);

	if (r < 0 || state.fresh)
		return r;
	if (state.damaged)
		return -err->code;
	if (apply->at.position.generation == 0 && txlog_oldest(&log, NULL).txid != 0)
		r = error_set(err, ENOENT, "the log does not begin with an empty database");
	if (r == 0 && apply->at.position.generation == 0)
		r = roll_begin(&log, apply, err);
	return r < 0 ? r : roll_forward(&log, apply, roll, err);
}

/*
 * The pages that page 1 counts, where it counts fewer: behind them is what a
 * writer left that died before he cut the file off. The next transaction in the
 * WAL takes that in, and once the WAL is empty again it is out. So where the
 * database has such a tail the image may have one; where it has none, neither may.
 */
static struct extent counted(const uint8_t *pages, struct extent extent)
{
	struct page_header header;

	if (extent.n_pages != 0 && page_header_parse(pages, &header) && header.n_pages != 0)
		extent.n_pages = MIN(extent.n_pages, header.n_pages);
	return extent;
}

static const uint8_t *page_at(const uint8_t *pages, struct extent extent, uint32_t pgno)
{
	return pgno <= extent.n_pages ? pages + (size_t)(pgno - 1) * extent.page_size : NULL;
}

/* Adds to answer which pages of image, which has logged, and original differ. */
static void add_differences(json_t *answer, const uint8_t *image, struct extent logged,
			    const struct original *original)
{
	const uint8_t *pages = original->pages.data;
	struct extent real = counted(pages, original->extent);
	bool has_tail = original->has_tail || real.n_pages < original->extent.n_pages;
	struct extent extent = has_tail ? counted(image, logged) : logged;
	bool same_size = extent.page_size == real.page_size;
	uint32_t n = MAX(extent.n_pages, real.n_pages);
	json_t *named = json_array();
	uint32_t n_differ = 0;

	for (uint32_t pgno = 1; pgno <= n; pgno++) {
		const uint8_t *a = page_at(image, extent, pgno);
		const uint8_t *b = page_at(pages, real, pgno);

		if (same_size && a != NULL && b != NULL && memcmp(a, b, extent.page_size) == 0)
			continue;
		if (n_differ++ < N_NAMED)
			json_array_append_new(named, json_integer(pgno));
	}
	json_object_set_new(answer, "differ", json_integer(n_differ));
	json_object_set_new(answer, "pages", named);
	json_object_set_new(answer, "sizes",
			    json_pack("[[i, i], [i, i]]", logged.page_size, logged.n_pages,
				      original->extent.page_size, original->extent.n_pages));
}

static int compare(json_t *answer, const struct apply *apply, const struct original *original,
		   struct error *err)
{
	size_t len = (size_t)extent_bytes(apply->at.extent);
	void *image = len == 0 ? NULL : mmap(NULL, len, PROT_READ, MAP_SHARED, apply->fd, 0);

	if (image == MAP_FAILED)
		return error_set_errno(err, errno, "cannot map the image");
	add_differences(answer, image, apply->at.extent, original);
	if (image != NULL)
		munmap(image, len);
	return 0;
}

static int write_copy(const char *path, const struct original *original, struct error *err)
{
	return file_replace(AT_FDCWD, path, original->pages.data, original->pages.len, 0600, err);
}

/* For the next comparison; whether this one found another content than the last. */
static bool remember(struct followed *followed, const struct original *original)
{
	uint64_t hash = hash64(original->pages.data, original->pages.len, 0);
	bool changed = hash != followed->hash;

	followed->mark = original->mark;
	followed->hash = hash;
	return changed;
}

static int look(struct follow *follow, struct followed *followed, const struct command *command,
		json_t *answer, struct error *err)
{
	enum original_end end = strcmp(command->verb, "index") == 0 ? ORIGINAL_INDEX :
								      ORIGINAL_CHAIN;
	struct original original CLEANUP(original_done) = { 0 };
	int r = original_read(&original, follow->folder_fd, command->name, end, &followed->mark,
			      err);

	if (r > 0)
		return json_object_set_new(answer, "unsure", json_true());
	if (r == 0 && command->copy != NULL)
		r = write_copy(command->copy, &original, err);
	if (r == 0)
		r = compare(answer, &followed->apply, &original, err);
	json_object_set_new(answer, "wal_mode", json_boolean(original.wal_mode));
	json_object_set_new(answer, "commits", json_integer(original.n_commits));
	json_object_set_new(answer, "changed", json_boolean(remember(followed, &original)));
	return r;
}

static void add_position(json_t *answer, const struct roll *roll, const struct position *position)
{
	char generation[32];

	snprintf(generation, sizeof(generation), "%016" PRIx64, position->generation);
	json_object_set_new(answer, "generation", json_string(generation));
	json_object_set_new(answer, "txid", json_integer((json_int_t)position->txid));
	json_object_set_new(answer, "records", json_integer((json_int_t)roll->n_records));
	json_object_set_new(answer, "merged", json_integer((json_int_t)roll->n_merged));
}

static int run(struct follow *follow, const struct command *command, json_t *answer,
	       struct error *err)
{
	struct followed *followed = find_followed(follow, command->id);
	struct roll roll = { 0 };
	int r = 0;

	if (followed == NULL)
		r = add_followed(follow, command->id, &followed, err);
	if (r == 0)
		r = take(follow, followed, &roll, err);
	if (r == 0)
		add_position(answer, &roll, &followed->apply.at.position);
	if (r == 0 && strcmp(command->verb, "take") != 0)
		r = look(follow, followed, command, answer, err);
	return r;
}

static struct command parse(char *line)
{
	struct command command = { 0 };
	char *rest;

	command.verb = strtok_r(line, " \n", &rest);
	command.id = strtok_r(NULL, " \n", &rest);
	command.name = strtok_r(NULL, " \n", &rest);
	command.copy = strtok_r(NULL, " \n", &rest);
	return command;
}

/* Answers one line; whether that went well. */
static bool answer_line(struct follow *follow, char *line)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct command command = parse(line);
	json_t *answer = json_object();
	int r = command.name == NULL ? error_set(&err, EINVAL, "a command is cut short") :
				       run(follow, &command, answer, &err);

	if (r < 0)
		json_object_set_new(answer, "error", json_string(error_what(&err)));
	json_dumpf(answer, stdout, JSON_COMPACT);
	printf("\n");
	fflush(stdout);
	json_decref(answer);
	return r >= 0;
}

static void forget(struct follow *follow)
{
	while (follow->first != NULL) {
		struct followed *followed = follow->first;

		follow->first = followed->next;
		close(followed->apply.fd);
		apply_done(&followed->apply);
		free(followed->log_path);
		free(followed->id);
		free(followed);
	}
}

int main(int argc, char **argv)
{
	struct follow follow = { 0 };
	char *line CLEANUP_FREE = NULL;
	size_t size = 0;
	bool well = true;

	if (argc != 3)
		return 64;
	follow.state_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	follow.folder_fd = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (follow.state_fd < 0 || follow.folder_fd < 0)
		return 66;
	printf("{}\n");
	fflush(stdout);
	while (well && getline(&line, &size, stdin) > 0)
		well = answer_line(&follow, line);
	forget(&follow);
	return well ? 0 : 1;
}
