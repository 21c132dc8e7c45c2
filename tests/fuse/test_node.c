/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "fuse/node.h"

#include <stdio.h>
#include <sys/stat.h>

/* A folder with its nodes. */
struct world {
	struct unit_folder *folder;
	struct session session;
	struct nodes nodes;
};

static void open_world(struct world *world, void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int fd;

	memset(world, 0, sizeof(*world));
	world->folder = *state;
	assert_int_equal(session_create(&fd, &err), 0);
	assert_int_equal(session_attach(&world->session, fd, &err), 0);
	close(fd);
	assert_int_equal(nodes_init(&world->nodes, &world->session, world->folder->fd, &err), 0);
}

static void close_world(struct world *world)
{
	nodes_done(&world->nodes);
	session_detach(&world->session);
}

static int dir_of(struct world *world, struct node *node)
{
	int fd = node_open(&world->nodes, node, O_RDONLY | O_DIRECTORY);

	assert_true(fd >= 0);
	return fd;
}

static struct node *look_up(struct world *world, struct node *parent, const char *name)
{
	int dir_fd = dir_of(world, parent);
	struct node *node;
	struct stat st;

	assert_int_equal(nodes_stat_at(&world->nodes, dir_fd, name, &st), 0);
	assert_int_equal(nodes_look_up(&world->nodes, parent, name, &st, &node), 0);
	close(dir_fd);
	return node;
}

static struct node *make(struct world *world, struct node *parent, const char *name, bool folder)
{
	int dir_fd = dir_of(world, parent);

	if (folder)
		assert_int_equal(mkdirat(dir_fd, name, 0700), 0);
	else
		close(openat(dir_fd, name, O_CREAT | O_EXCL | O_RDWR, 0600));
	close(dir_fd);
	return look_up(world, parent, name);
}

static void remove_name(struct world *world, struct node *node, struct node *parent,
			const char *name, bool folder)
{
	int dir_fd = dir_of(world, parent);

	node_pin(node, openat(dir_fd, name, O_PATH | O_NOFOLLOW));
	assert_int_equal(unlinkat(dir_fd, name, folder ? AT_REMOVEDIR : 0), 0);
	nodes_unnamed(&world->nodes, node, parent, name);
	close(dir_fd);
}

static void move_name(struct world *world, struct node *node, struct node *from, const char *name,
		      struct node *to, const char *new_name)
{
	int from_fd = dir_of(world, from);
	int to_fd = dir_of(world, to);

	assert_int_equal(renameat(from_fd, name, to_fd, new_name), 0);
	nodes_renamed(&world->nodes, node, to, new_name);
	close(from_fd);
	close(to_fd);
}

static void expect_path(struct world *world, struct node *node, const char *expected)
{
	struct buf path CLEANUP_BUF = { 0 };

	assert_int_equal(node_path(&world->nodes, node, &path), 0);
	assert_string_equal(buf_str(&path), expected);
}

static uint32_t n_used(struct world *world)
{
	uint32_t n = 0;

	for (uint32_t id = 1; id <= session_n_nodes(&world->session); id++)
		n += session_node_get(&world->session, id) != NULL;
	return n;
}

static void paths_follow_renames_of_folders(void **state)
{
	struct world world;
	struct node *root, *a, *b, *file;

	open_world(&world, state);
	root = nodes_get(&world.nodes, SESSION_ROOT);
	expect_path(&world, root, "");
	a = make(&world, root, "a", true);
	b = make(&world, a, "b", true);
	file = make(&world, b, "file", false);
	expect_path(&world, file, "a/b/file");
	move_name(&world, a, root, "a", root, "z");
	expect_path(&world, file, "z/b/file");
	move_name(&world, b, a, "b", root, "y");
	expect_path(&world, file, "y/file");
	close_world(&world);
}

static void a_folder_lives_as_long_as_its_children(void **state)
{
	struct world world;
	struct node *root, *a, *file;
	uint64_t a_id;

	open_world(&world, state);
	root = nodes_get(&world.nodes, SESSION_ROOT);
	a = make(&world, root, "a", true);
	file = make(&world, a, "file", false);
	a_id = a->id;
	nodes_forget(&world.nodes, a_id, 1);
	assert_ptr_equal(nodes_get(&world.nodes, a_id), a);
	expect_path(&world, file, "a/file");
	nodes_forget(&world.nodes, file->id, 1);
	assert_null(nodes_get(&world.nodes, a_id));
	assert_int_equal(n_used(&world), 1);
	close_world(&world);
}

static void an_unlinked_file_can_still_be_reached(void **state)
{
	struct world world;
	struct node *root, *file, *other;
	struct stat st;
	int fd;

	open_world(&world, state);
	root = nodes_get(&world.nodes, SESSION_ROOT);
	file = make(&world, root, "file", false);
	remove_name(&world, file, root, "file", false);
	other = make(&world, root, "file", false);
	assert_ptr_not_equal(file, other);
	assert_int_equal(node_stat(&world.nodes, file, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	fd = node_open(&world.nodes, file, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	nodes_forget(&world.nodes, file->id, 1);
	nodes_forget(&world.nodes, other->id, 1);
	assert_int_equal(n_used(&world), 1);
	close_world(&world);
}

static void hard_links_are_one_node(void **state)
{
	struct world world;
	struct node *root, *a, *b;
	struct stat st;

	open_world(&world, state);
	root = nodes_get(&world.nodes, SESSION_ROOT);
	a = make(&world, root, "a", false);
	assert_int_equal(linkat(world.folder->fd, "a", world.folder->fd, "b", 0), 0);
	b = look_up(&world, root, "b");
	assert_ptr_equal(a, b);
	remove_name(&world, a, root, "a", false);
	assert_int_equal(node_stat(&world.nodes, b, &st), 0);
	assert_int_equal(st.st_nlink, 1);
	expect_path(&world, b, "b");
	close_world(&world);
}

static void a_file_replaced_behind_the_mount_is_stale(void **state)
{
	struct world world;
	struct node *root, *file;
	struct stat st;

	open_world(&world, state);
	root = nodes_get(&world.nodes, SESSION_ROOT);
	file = make(&world, root, "file", false);
	close(openat(world.folder->fd, "new", O_CREAT | O_RDWR, 0600));
	assert_int_equal(renameat(world.folder->fd, "new", world.folder->fd, "file"), 0);
	assert_int_equal(node_stat(&world.nodes, file, &st), -ESTALE);
	assert_int_equal(unlinkat(world.folder->fd, "file", 0), 0);
	assert_int_equal(node_open(&world.nodes, file, O_RDONLY), -ESTALE);
	close_world(&world);
}

static void a_symlink_on_the_way_leads_nowhere(void **state)
{
	struct world world;
	struct node *root, *folder, *file, *link;
	struct stat st;

	open_world(&world, state);
	root = nodes_get(&world.nodes, SESSION_ROOT);
	folder = make(&world, root, "folder", true);
	file = make(&world, folder, "file", false);
	assert_int_equal(renameat(world.folder->fd, "folder", world.folder->fd, "moved"), 0);
	assert_int_equal(symlinkat("moved", world.folder->fd, "folder"), 0);
	assert_int_equal(node_open(&world.nodes, file, O_RDONLY), -ESTALE);
	link = look_up(&world, root, "folder");
	assert_int_equal(node_stat(&world.nodes, link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(node_open(&world.nodes, link, O_RDONLY), -ESTALE);
	close_world(&world);
}

static void a_path_may_be_longer_than_the_kernel_takes(void **state)
{
	struct node *chain[61];
	struct world world;
	struct node *at;
	char name[201];
	struct stat st;

	open_world(&world, state);
	memset(name, 'd', 200);
	name[200] = '\0';
	chain[0] = nodes_get(&world.nodes, SESSION_ROOT);
	for (int i = 0; i < 60; i++)
		chain[i + 1] = make(&world, chain[i], name, true);
	at = make(&world, chain[60], "file", false);
	assert_int_equal(node_stat(&world.nodes, at, &st), 0);
	assert_int_equal(st.st_ino, at->slot->ino);
	remove_name(&world, at, chain[60], "file", false);
	for (int i = 60; i > 0; i--)
		remove_name(&world, chain[i], chain[i - 1], name, true);
	close_world(&world);
}

/* ----------------------------------------------------------------- against a model */

#define N_FOLDERS 4
#define N_FILES 12

/* What must be true of a node: where it is, and how often it was looked up. */
struct known {
	struct node *node;
	int folder; /* of N_FOLDERS; -1: unlinked */
	char name[8];
	uint64_t n_lookups;
};

struct model {
	struct world world;
	struct node *folders[N_FOLDERS];
	struct known known[N_FILES];
};

static struct known *known_at(struct model *model, int folder, const char *name)
{
	for (int i = 0; i < N_FILES; i++) {
		struct known *known = &model->known[i];

		if (known->node != NULL && known->folder == folder &&
		    strcmp(known->name, name) == 0)
			return known;
	}
	return NULL;
}

static void model_make(struct model *model, struct known *slot, int folder, const char *name)
{
	struct known *there = known_at(model, folder, name);

	if (there != NULL) {
		assert_ptr_equal(look_up(&model->world, model->folders[folder], name), there->node);
		there->n_lookups++;
		return;
	}
	if (slot->node != NULL)
		return;
	slot->node = make(&model->world, model->folders[folder], name, false);
	slot->folder = folder;
	slot->n_lookups = 1;
	strcpy(slot->name, name);
}

static void model_move(struct model *model, struct known *slot, int folder, const char *name)
{
	struct known *target = known_at(model, folder, name);

	if (slot->node == NULL || slot->folder < 0 || target == slot)
		return;
	if (target != NULL) {
		remove_name(&model->world, target->node, model->folders[folder], name, false);
		target->folder = -1;
	}
	move_name(&model->world, slot->node, model->folders[slot->folder], slot->name,
		  model->folders[folder], name);
	slot->folder = folder;
	strcpy(slot->name, name);
}

/* A file that is forgotten goes from the disk too, so that its number is used again. */
static void model_forget(struct model *model, struct known *slot)
{
	if (slot->node == NULL)
		return;
	if (slot->folder >= 0)
		remove_name(&model->world, slot->node, model->folders[slot->folder], slot->name,
			    false);
	nodes_forget(&model->world.nodes, slot->node->id, slot->n_lookups);
	slot->node = NULL;
}

static void model_check(struct model *model)
{
	for (int i = 0; i < N_FILES; i++) {
		struct known *known = &model->known[i];
		char path[32];
		struct stat st;

		if (known->node == NULL)
			continue;
		assert_int_equal(node_stat(&model->world.nodes, known->node, &st), 0);
		assert_int_equal(st.st_ino, known->node->slot->ino);
		assert_int_equal(known->node->slot->n_lookups, known->n_lookups);
		if (known->folder < 0)
			continue;
		snprintf(path, sizeof(path), "f%d/%s", known->folder, known->name);
		expect_path(&model->world, known->node, path);
	}
}

static void random_operations_agree_with_a_model(void **state)
{
	struct model model = { .world = { 0 } };
	unsigned seed = 3;

	open_world(&model.world, state);
	for (int i = 0; i < N_FOLDERS; i++) {
		char name[8];

		snprintf(name, sizeof(name), "f%d", i);
		model.folders[i] = make(&model.world, nodes_get(&model.world.nodes, SESSION_ROOT),
					name, true);
	}
	for (int step = 0; step < 5000; step++) {
		struct known *slot = &model.known[rand_r(&seed) % N_FILES];
		int folder = rand_r(&seed) % N_FOLDERS;
		char name[8];

		snprintf(name, sizeof(name), "n%d", rand_r(&seed) % 6);
		switch (rand_r(&seed) % 5) {
		case 0:
		case 1:
			model_make(&model, slot, folder, name);
			break;
		case 2:
			model_move(&model, slot, folder, name);
			break;
		case 3:
			model_forget(&model, slot);
			break;
		default:
			if (slot->node != NULL && slot->folder >= 0) {
				remove_name(&model.world, slot->node, model.folders[slot->folder],
					    slot->name, false);
				slot->folder = -1;
			}
		}
		model_check(&model);
	}
	for (int i = 0; i < N_FILES; i++)
		model_forget(&model, &model.known[i]);
	assert_int_equal(n_used(&model.world), 1 + N_FOLDERS);
	close_world(&model.world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(paths_follow_renames_of_folders),
		UNIT_TEST_IN_FOLDER(a_folder_lives_as_long_as_its_children),
		UNIT_TEST_IN_FOLDER(an_unlinked_file_can_still_be_reached),
		UNIT_TEST_IN_FOLDER(hard_links_are_one_node),
		UNIT_TEST_IN_FOLDER(a_file_replaced_behind_the_mount_is_stale),
		UNIT_TEST_IN_FOLDER(a_symlink_on_the_way_leads_nowhere),
		UNIT_TEST_IN_FOLDER(a_path_may_be_longer_than_the_kernel_takes),
		UNIT_TEST_IN_FOLDER(random_operations_agree_with_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
