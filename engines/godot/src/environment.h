/* The class FerryEnvironment: a node that lets an agent play the scene it is in. */
#ifndef FERRY_GODOT_ENVIRONMENT_H
#define FERRY_GODOT_ENVIRONMENT_H

#include "engine.h"

void environment_register(GDExtensionClassLibraryPtr library);
void environment_unregister(GDExtensionClassLibraryPtr library);

#endif
