# %%
import networkx as nx

graph = nx.Graph()
graph.add_edges_from([("a", "b", {"weight": 4}), ("b", "c", {"weight": 1}), ("a", "c", {"weight": 9})])
# %%
nx.shortest_path(graph, "a", "c", weight="weight")
# %%
graph.nodes["a"]["color"] = "red"
graph.remove_edge("a", "c")
dict(graph.degree), graph.nodes["a"]
# %%
directed = nx.DiGraph([(1, 2), (2, 3), (3, 1)])
list(nx.simple_cycles(directed))
# %%
ranks = nx.pagerank(directed)
{node: round(rank, 3) for node, rank in ranks.items()}
# %%
places = nx.spring_layout(graph, seed=1)
sorted(places)
# %%
nx.draw(graph, places, with_labels=True)
# %%
tree = nx.balanced_tree(2, 3)
tree.number_of_nodes(), nx.is_tree(tree)
# %%
nx.to_numpy_array(graph)
